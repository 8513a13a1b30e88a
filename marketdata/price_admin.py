"""The operators' pages for outside prices: where each market's price comes from, what it is now, imported history.

A source is edited here and nowhere else; the feed notices within seconds. Quotes and imported bars are read only: the
feed and `import_candles` write them.
"""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from marketdata import clock, operators, quotes
from marketdata.models import ExternalCandle, PriceSource, Quote, RateField


@admin.register(PriceSource)
class PriceSourceAdmin(operators.OperatorAdmin):
    """Provider, its name for the market, and how its prices are taken."""

    list_display = ("market", "provider", "provider_symbol", "spread_percent", "band_percent", "is_active")
    list_filter = ("provider", "is_active")
    list_select_related = ("market",)
    text_search = ("market__symbol__istartswith",)
    autocomplete_fields = ("market",)
    formfield_overrides = {
        RateField: {"form_class": operators.PlainDecimalField, "widget": UnfoldAdminDecimalFieldWidget},
    }
    fieldsets = (
        (None, {"fields": ("market", ("provider", "provider_symbol"), "is_active")}),
        ("Prices", {"fields": (("spread", "band"),)}),
    )

    @display(description="spread")
    def spread_percent(self, source: PriceSource) -> str:
        return f"{operators.units.plain(source.spread * 100)} %"

    @display(description="largest step")
    def band_percent(self, source: PriceSource) -> str:
        return f"{operators.units.plain(source.band * 100)} %"

    def get_readonly_fields(self, request: HttpRequest, obj: PriceSource | None = None):
        return ("market",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A source has no history of its own: without one the market simply has no outside price."""
        return super(operators.OperatorAdmin, self).has_delete_permission(request, obj)


@admin.register(Quote)
class QuoteAdmin(operators.HistoryAdmin):
    """The newest believable outside price of each market."""

    list_display = ("market", "shown_bid", "shown_ask", "provider", "state", "quoted", "received")
    list_select_related = ("market",)
    ordering = ("market__symbol",)
    text_search = ("market__symbol__istartswith",)
    fields = ("market", "provider", "shown_bid", "shown_ask", "shown_mid", "state", "quoted", "received", "stale")

    shown_bid = operators.number("bid")
    shown_ask = operators.number("ask")
    shown_mid = operators.number("mid")
    quoted = operators.moment("quoted_at", "provider's time")
    received = operators.moment("received_at")
    stale = operators.moment("stale_at", "stale from")

    @display(description="state", label={"live": "success", "stale": "danger"})
    def state(self, quote: Quote) -> str:
        return "stale" if quotes.is_stale(quote, clock.now()) else "live"


@admin.register(ExternalCandle)
class ExternalCandleAdmin(operators.HistoryAdmin):
    """Imported bars: not traded here."""

    list_display = ("market", "source", "interval", "opened", "shown_open", "shown_high", "shown_low", "shown_close")
    list_select_related = ("market",)
    text_search = ("market__symbol__iexact",)
    fields = (
        ("market", "source", "interval"), "opened", ("shown_open", "shown_high", "shown_low", "shown_close"),
        "shown_volume",
    )  # fmt: skip

    opened = operators.moment("open_time", "opens")
    shown_open = operators.number("open")
    shown_high = operators.number("high")
    shown_low = operators.number("low")
    shown_close = operators.number("close")
    shown_volume = operators.number("volume")
