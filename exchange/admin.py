"""The operators' pages for orders, trades and fills: all read-only, but for cancelling through the one door.

The front page is the dashboard (exchange.dashboard).
"""

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from exchange import entry_admin, orders, risk_admin, settlement_admin
from exchange.models import Fill, Order, Trade
from marketdata import operators
from marketdata.refusals import Refusal

__all__ = ["FillAdmin", "OrderAdmin", "TradeAdmin", "entry_admin", "risk_admin", "settlement_admin"]

admin.site.index_template = "exchange/dashboard.html"

STATUS_COLOURS = {
    Order.Status.OPEN: "info",
    Order.Status.PARTIALLY_FILLED: "info",
    Order.Status.FILLED: "success",
    Order.Status.REJECTED: "danger",
}


class StateFilter(admin.SimpleListFilter):
    """Open orders by the index that holds just those; the others by status."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin):
        return [("open", "In the book"), *((value, label) for value, label in Order.Status.choices)]

    def queryset(self, request: HttpRequest, queryset):
        if self.value() == "open":
            return queryset.filter(status__in=Order.LIVE)
        return queryset.filter(status=self.value()) if self.value() else queryset


class FillsOfOrder(operators.HistoryInline):
    """What an order has got so far."""

    model = Fill
    fields = ("trade", "role", "shown_price", "shown_quantity", "shown_fee", "shown_executed_at")
    shown_price = operators.number("price")
    shown_quantity = operators.number("quantity")
    shown_executed_at = operators.moment("executed_at")
    shown_fee = operators.number("fee")

    def get_queryset(self, request: HttpRequest):
        return super().get_queryset(request).select_related("trade").order_by("id")


@admin.register(Order)
class OrderAdmin(operators.HistoryAdmin):
    """Every order ever accepted."""

    list_display = (
        "id", "market", "account", "side", "type", "shown_price", "shown_quantity", "shown_filled_quantity",
        "status_label", "shown_created_at",
    )  # fmt: skip
    list_filter = (StateFilter, "market", "side")
    list_select_related = ("market", "account__user", "account__market")
    exact_search = ("id", "account_id")
    text_search = ("account__user__username__startswith",)
    search_help_text = "How the owner's name begins, or the whole id of order or account."
    inlines = (FillsOfOrder,)
    actions = ("cancel_selected",)
    actions_row = ("cancel_order",)
    actions_detail = ("cancel_order",)
    fieldsets = (
        (None, {"fields": (("market", "account"), ("side", "type"), ("status", "time_in_force"))}),
        (
            "Terms",
            {
                "fields": (
                    ("shown_price", "shown_quantity", "shown_quote_quantity"),
                    ("post_only", "self_trade_prevention", "client_order_id"),
                    ("maker_rate", "taker_rate", "priority"),
                )
            },
        ),
        ("So far", {"fields": (("shown_filled_quantity", "shown_filled_notional"), ("shown_fee", "shown_reserved"))}),
        ("When", {"fields": (("shown_created_at", "shown_updated_at"),)}),
    )
    shown_price = operators.number("price")
    shown_quantity = operators.number("quantity")
    shown_quote_quantity = operators.number("quote_quantity")
    shown_filled_quantity = operators.number("filled_quantity", "filled")
    shown_filled_notional = operators.number("filled_notional")
    shown_fee = operators.number("fee")
    shown_reserved = operators.number("reserved")
    shown_created_at = operators.moment("created_at")
    shown_updated_at = operators.moment("updated_at")

    @display(description="status", label=STATUS_COLOURS)
    def status_label(self, order: Order):
        return order.status, order.get_status_display()

    def get_readonly_fields(self, request: HttpRequest, obj: Order | None = None):
        return [name for _, options in self.fieldsets for row in options["fields"] for name in row]

    def has_cancel_permission(self, request: HttpRequest, obj=None) -> bool:
        """Cancelling needs the right to change orders, although no page edits one."""
        return request.user.has_perm("exchange.change_order")

    @action(
        description="Cancel", url_path="cancel", permissions=["cancel"], icon="cancel", variant=ActionVariant.DANGER
    )
    def cancel_order(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One order, also in a halted market."""
        order = operators.find(Order.objects.select_related("market"), object_id)

        def act(data: dict) -> str:
            self._cancel(request, order, data["reason"])
            return f"Order {order.id} is cancelled."

        return operators.ask(
            self,
            request,
            title=f"Cancel order {order.id}",
            text=f"{order} in {order.market}: what it has reserved goes back to its owner, who is told.",
            button="Cancel the order",
            act=act,
            back=operators.change_url(order),
            danger=True,
        )

    @admin.action(description="Cancel selected orders", permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset) -> HttpResponse:
        """Several orders; those that have ended meanwhile are told and left alone, though the list may show only what
        is open and so has them no more.
        """
        ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
        is_all = request.POST.get("select_across", "") not in ("", "0", "False")
        chosen = list((queryset if is_all else Order.objects.filter(pk__in=ticked))[: self.list_per_page])

        def act(data: dict) -> str:
            done = sum(self._cancel_if_open(request, order, data["reason"]) for order in chosen)
            return f"{done} of {len(chosen)} orders are cancelled."

        return operators.ask(
            self,
            request,
            form=operators.ReasonForm(request.POST if "confirmed" in request.POST else None),
            title=f"Cancel {len(chosen)} orders",
            text="What they have reserved goes back to their owners, who are told.",
            button="Cancel the orders",
            act=act,
            back=operators.list_url(Order),
            danger=True,
            hidden=[("action", "cancel_selected"), *((ACTION_CHECKBOX_NAME, str(order.pk)) for order in chosen)],
        )

    def _cancel_if_open(self, request: HttpRequest, order: Order, reason: str) -> bool:
        try:
            self._cancel(request, order, reason)
        except Refusal as refusal:
            messages.warning(request, refusal.detail)
            return False
        return True

    @staticmethod
    def _cancel(request: HttpRequest, order: Order, reason: str) -> None:
        orders.cancel(account_id=None, order_id=order.id, reason="operator")
        operators.log(request, [order], f"Cancelled: {reason}")


@admin.register(Trade)
class TradeAdmin(operators.HistoryAdmin):
    """Every match."""

    list_display = ("id", "market", "taker_side", "shown_price", "shown_quantity", "shown_executed_at", "sequence")
    list_filter = ("market",)
    list_select_related = ("market",)
    exact_search = ("id",)
    search_help_text = "The whole id."
    fields = (
        ("market", "sequence"),
        ("shown_price", "shown_quantity"),
        ("maker", "taker"),
        ("taker_side", "shown_executed_at"),
    )
    shown_price = operators.number("price")
    shown_quantity = operators.number("quantity")
    shown_executed_at = operators.moment("executed_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Trade | None = None):
        return [name for row in self.fields for name in row]

    @display(description="maker's order")
    def maker(self, trade: Trade) -> str:
        return _order_link(trade.maker_order)

    @display(description="taker's order")
    def taker(self, trade: Trade) -> str:
        return _order_link(trade.taker_order)


def _order_link(order: Order) -> str:
    return format_html('<a class="underline" href="{}">{} by {}</a>', operators.change_url(order), order, order.account)


@admin.register(Fill)
class FillAdmin(operators.HistoryAdmin):
    """Each side's share of the trades: search by account or order id."""

    list_display = (
        "id",
        "market",
        "account",
        "side",
        "role",
        "shown_price",
        "shown_quantity",
        "shown_fee",
        "shown_executed_at",
    )
    list_select_related = ("market", "account__user", "account__market")
    exact_search = ("account_id", "order_id")
    search_help_text = "The whole id of an account or of an order."
    fields = (
        "trade",
        "order",
        "account",
        "market",
        "side",
        "role",
        "shown_price",
        "shown_quantity",
        "shown_fee",
        "shown_executed_at",
    )
    shown_price = operators.number("price")
    shown_quantity = operators.number("quantity")
    shown_executed_at = operators.moment("executed_at")
    shown_fee = operators.number("fee")
