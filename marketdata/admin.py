"""The operators' pages for assets and markets.

A market's status is changed by halting and reopening, with a reason, never by editing. Edits go through Market.save,
which validates, counts the version up, and leaves to the matcher what is the matcher's.
"""

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from marketdata import contract_admin, operators, price_admin, session_admin
from marketdata.models import Asset, Market, MoneyField, RateField

__all__ = ["AssetAdmin", "MarketAdmin", "contract_admin", "price_admin", "session_admin"]

LIVE_COLUMNS = ("phase", "status_reason", "sequence", "version", "live_price", "live_price_at", "created_at")
FIXED_COLUMNS = ("base", "quote", "kind", "shown_tick_size", "shown_lot_size")
STATUS_COLOURS = {
    Market.Status.OPEN: "success",
    Market.Status.CANCEL_ONLY: "warning",
    Market.Status.HALTED: "danger",
    Market.Status.CLOSED: "info",
}


@admin.register(Asset)
class AssetAdmin(operators.OperatorAdmin):
    """What can be owned. The smallest unit is fixed once made."""

    list_display = ("symbol", "name", "kind", "decimals", "is_active")
    list_filter = ("kind", "is_active")
    text_search = ("symbol__istartswith", "name__istartswith")

    def get_readonly_fields(self, request: HttpRequest, obj: Asset | None = None):
        return ("symbol", "decimals") if obj else ()


@admin.register(Market)
class MarketAdmin(operators.OperatorAdmin):
    """What is traded: filters to edit, and the switch of each market."""

    list_display = (
        "symbol",
        "status_label",
        "phase",
        "live_price",
        "live_price_at",
        "kind",
        "fees",
        "sequence",
        "is_active",
    )
    list_filter = ("status", "kind", "is_active")
    list_select_related = ("base", "quote")
    text_search = ("symbol__istartswith",)
    autocomplete_fields = ("base", "quote")
    formfield_overrides = {
        MoneyField: {"form_class": operators.PlainDecimalField, "widget": UnfoldAdminDecimalFieldWidget},
        RateField: {"form_class": operators.PlainDecimalField, "widget": UnfoldAdminDecimalFieldWidget},
    }
    fieldsets = (
        (None, {"fields": (("symbol", "status"), ("base", "quote"), ("kind", "is_active"))}),
        ("Grid", {"fields": (("tick_size", "lot_size"),)}),
        (
            "Filters",
            {
                "fields": (
                    ("min_quantity", "max_quantity"),
                    ("min_notional", "max_open_orders"),
                    ("price_band", "reference_price"),
                )
            },
        ),
        ("Fees", {"fields": (("maker_fee", "taker_fee"),)}),
        (
            "Sessions and safety",
            {
                "fields": (
                    ("calendar", "settlement_days"),
                    ("volatility_band", "auction_seconds", "max_interruptions"),
                    ("max_notional", "max_order_ratio"),
                    "trigger_by",
                )
            },
        ),
        (
            "Live",
            {
                "fields": (
                    ("phase", "status_reason"),
                    ("sequence", "version"),
                    ("live_price", "live_price_at"),
                    "created_at",
                )
            },
        ),
    )
    actions_row = ("halt", "cancel_only", "reopen")
    actions_detail = ("halt", "cancel_only", "reopen")
    actions_list = ("halt_all", "cancel_only_all", "reopen_all")

    live_price = operators.number("last_price")
    live_price_at = operators.moment("last_price_updated_at", "last trade")
    shown_tick_size = operators.number("tick_size")
    shown_lot_size = operators.number("lot_size")

    @display(description="status", label=STATUS_COLOURS)
    def status_label(self, market: Market):
        return market.status, market.get_status_display()

    @display(description="phase")
    def phase(self, market: Market) -> str:
        return session_admin.session_text(market)

    @display(description="maker / taker fee")
    def fees(self, market: Market) -> str:
        return " / ".join(f"{operators.units.plain(rate * 100)} %" for rate in (market.maker_fee, market.taker_fee))

    def get_fieldsets(self, request: HttpRequest, obj: Market | None = None):
        """Tick and lot can be typed until the first order; the live figures come with the market's first save."""
        if obj is None:
            return self.fieldsets[:-1]
        grid = ("Grid", {"fields": (("shown_tick_size", "shown_lot_size"),)})
        return [grid if obj.sequence and title == "Grid" else (title, options) for title, options in self.fieldsets]

    def get_readonly_fields(self, request: HttpRequest, obj: Market | None = None):
        if obj is None:
            return ("live_price",)
        fixed = FIXED_COLUMNS if obj.sequence else ()
        return ("symbol", "status", *fixed, *LIVE_COLUMNS)

    # The switch

    @action(
        description="Halt", url_path="halt", permissions=["change"], icon="front_hand", variant=ActionVariant.DANGER
    )
    def halt(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Nothing moves until it is reopened: no orders, no amendments, no cancellations by traders."
        return self._switch(request, object_id, Market.Status.HALTED, "Halt", text)

    @action(description="Cancel only", url_path="cancel-only", permissions=["change"], icon="event_busy")
    def cancel_only(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Traders may cancel their orders, but neither place nor amend any."
        return self._switch(request, object_id, Market.Status.CANCEL_ONLY, "Set cancel-only", text)

    @action(
        description="Reopen",
        url_path="reopen",
        permissions=["change"],
        icon="play_arrow",
        variant=ActionVariant.SUCCESS,
    )
    def reopen(self, request: HttpRequest, object_id: str) -> HttpResponse:
        text = "Orders are taken and matched again. The open orders still stand in the book."
        return self._switch(request, object_id, Market.Status.OPEN, "Reopen", text)

    @action(
        description="Halt all markets",
        url_path="halt-all",
        permissions=["change"],
        icon="front_hand",
        variant=ActionVariant.DANGER,
    )
    def halt_all(self, request: HttpRequest) -> HttpResponse:
        """Every market that is not halted or closed yet."""
        text = "Nothing moves on the whole venue until its markets are reopened."
        before = (Market.Status.OPEN, Market.Status.CANCEL_ONLY)
        return self._switch_all(request, before, Market.Status.HALTED, "Halt all markets", text)

    @action(description="Cancel only everywhere", url_path="cancel-only-all", permissions=["change"], icon="event_busy")
    def cancel_only_all(self, request: HttpRequest) -> HttpResponse:
        """Every market that is open or halted."""
        text = "Traders may cancel their orders on the whole venue, but neither place nor amend any."
        before = (Market.Status.OPEN, Market.Status.HALTED)
        return self._switch_all(request, before, Market.Status.CANCEL_ONLY, "Set all markets to cancel-only", text)

    @action(
        description="Reopen all markets",
        url_path="reopen-all",
        permissions=["change"],
        icon="play_arrow",
        variant=ActionVariant.SUCCESS,
    )
    def reopen_all(self, request: HttpRequest) -> HttpResponse:
        """Every market that is halted or cancel-only, whoever or whatever stopped it."""
        text = "Orders are taken and matched again on the whole venue, also where a rule has halted a market."
        before = (Market.Status.HALTED, Market.Status.CANCEL_ONLY)
        return self._switch_all(request, before, Market.Status.OPEN, "Reopen all markets", text)

    def _switch_all(self, request: HttpRequest, before: tuple, status: str, title: str, text: str) -> HttpResponse:
        def act(data: dict) -> str:
            rows = Market.objects.filter(status__in=before)
            done = sum(self._set_status(request, market, status, data["reason"]) for market in rows)
            return f"{done} markets are now {Market.Status(status).label}."

        return operators.ask(
            self,
            request,
            title=title,
            text=text,
            button=title,
            act=act,
            back=operators.list_url(Market),
            danger=status != Market.Status.OPEN,
        )

    def _switch(self, request: HttpRequest, object_id: str, status: str, verb: str, text: str) -> HttpResponse:
        market = operators.find(Market, object_id)

        def act(data: dict) -> str:
            is_new = self._set_status(request, market, status, data["reason"])
            return f"{market.symbol} is {'now' if is_new else 'already'} {Market.Status(status).label}."

        return operators.ask(
            self,
            request,
            title=f"{verb}: {market.symbol}",
            text=f"It is {market.get_status_display()} now. {text}",
            button=verb,
            act=act,
            back=operators.change_url(market),
            danger=status == Market.Status.HALTED,
        )

    @staticmethod
    def _set_status(request: HttpRequest, market: Market, status: str, reason: str) -> bool:
        """Whether there was anything to change. What a rule or a scenario has stopped becomes the operator's."""
        with transaction.atomic():
            market = Market.objects.select_for_update().get(pk=market.pk)
            if market.status == status and not (market.scheduled_status or market.status_reason):
                return False
            before, market.status = market.status, status
            market.save(update_fields=["status"])
            operators.log(request, [market], f"{before} → {status}: {reason}")
        return True
