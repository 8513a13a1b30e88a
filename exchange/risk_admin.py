"""The operators' pages for margin: marks and the house's exposure, margin calls, liquidations, stops of new risk,
rollovers. All read-only: what a stop has stopped is taken up again on the contract's page.
"""

from decimal import Decimal

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest
from unfold.decorators import display

from accounts.models import Account, FinancingCharge, Position, Rollover
from exchange.models import Liquidation, MarginCall, RiskStop
from marketdata import marks, operators, units
from marketdata.models import Mark

OUTCOME_COLOURS = {
    Liquidation.Outcome.UNDER_WAY: "warning",
    Liquidation.Outcome.RESTORED: "success",
    Liquidation.Outcome.CLOSED: "info",
    Liquidation.Outcome.UNFILLED: "danger",
}


def _of_market(**terms) -> QuerySet:
    rows = Position.objects.filter(market=OuterRef("market"), closed_at__isnull=True, **terms).order_by()
    return rows.values("market").annotate(sum=Sum("quantity")).values("sum")


@admin.register(Mark)
class MarkAdmin(operators.HistoryAdmin):
    """Each margin market's mark, how much is open, and what the house holds of it against its limit."""

    list_display = (
        "market", "shown_price", "shown_bid", "shown_ask", "state", "marked", "open_interest", "house", "limit",
    )  # fmt: skip
    list_select_related = ("market__contract",)
    ordering = ("market__symbol",)
    text_search = ("market__symbol__istartswith",)
    fields = ("market", "shown_price", "shown_bid", "shown_ask", "state", "marked", "stale", "open_interest", "house")

    shown_price = operators.number("price")
    shown_bid = operators.number("bid")
    shown_ask = operators.number("ask")
    marked = operators.moment("marked_at", "from")
    stale = operators.moment("stale_at", "stale from")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request)
        maker = Account.Kind.MARKET_MAKER
        return rows.annotate(
            longs=Subquery(_of_market(quantity__gt=0)), house_quantity=Subquery(_of_market(account__kind=maker))
        )

    @display(description="state", label={"live": "success", "stale": "danger"})
    def state(self, mark: Mark) -> str:
        return "stale" if marks.is_stale(mark.marked_at, mark.stale_at) else "live"

    @display(description="open interest")
    def open_interest(self, mark: Mark) -> str:
        return units.plain(mark.longs or Decimal(0))

    @display(description="house holds")
    def house(self, mark: Mark) -> str:
        return units.plain(mark.house_quantity or Decimal(0))

    @display(description="house limit")
    def limit(self, mark: Mark) -> str:
        contract = getattr(mark.market, "contract", None)
        if contract is None or not contract.is_quoted:
            return "not quoted"
        return units.plain(contract.exposure_limit_lots * mark.market.lot_size)


@admin.register(MarginCall)
class MarginCallAdmin(operators.HistoryAdmin):
    """Accounts whose equity fell to the call level."""

    list_display = ("id", "account", "asset", "shown_equity", "shown_used", "called", "cleared")
    list_select_related = ("account__user", "asset")
    list_filter = (("cleared_at", admin.EmptyFieldListFilter),)
    exact_search = ("account_id",)
    search_help_text = "The whole id of an account."
    fields = ("account", "asset", "shown_equity", "shown_used", "called", "cleared")
    shown_equity = operators.number("equity")
    shown_used = operators.number("used", "used margin")
    called = operators.moment("called_at", "called")
    cleared = operators.moment("cleared_at", "over")


@admin.register(Liquidation)
class LiquidationAdmin(operators.HistoryAdmin):
    """Accounts whose positions the venue closed."""

    list_display = (
        "id", "account", "asset", "outcome_label", "shown_equity_before", "shown_used_before", "shown_equity_after",
        "orders_placed", "began",
    )  # fmt: skip
    list_select_related = ("account__user", "asset")
    list_filter = ("outcome",)
    exact_search = ("id", "account_id")
    search_help_text = "The whole id of a liquidation or of an account."
    fields = (
        ("account", "asset", "outcome"),
        ("shown_equity_before", "shown_used_before"),
        ("shown_equity_after", "shown_used_after"),
        ("orders_cancelled", "orders_placed"),
        ("began", "ended"),
    )
    shown_equity_before = operators.number("equity_before")
    shown_used_before = operators.number("used_before")
    shown_equity_after = operators.number("equity_after")
    shown_used_after = operators.number("used_after")
    began = operators.moment("began_at", "began")
    ended = operators.moment("ended_at", "ended")

    def get_readonly_fields(self, request: HttpRequest, obj: Liquidation | None = None):
        return [name for row in self.fields for name in row]

    @display(description="outcome", label=OUTCOME_COLOURS)
    def outcome_label(self, row: Liquidation):
        return row.outcome, row.get_outcome_display()


@admin.register(RiskStop)
class RiskStopAdmin(operators.HistoryAdmin):
    """When an empty insurance fund stopped new risk; contracts' pages open it again."""

    list_display = ("id", "asset", "shown_uncovered", "symbols", "stopped")
    list_select_related = ("asset",)
    fields = ("asset", "shown_uncovered", "symbols", "last_shortfall_id", "stopped")
    shown_uncovered = operators.number("uncovered")
    stopped = operators.moment("stopped_at", "stopped")


@admin.register(Rollover)
class RolloverAdmin(operators.HistoryAdmin):
    """At what price and rates positions were financed."""

    list_display = ("market", "day", "days", "shown_price", "long_percent", "short_percent", "at_moment", "posted")
    list_select_related = ("market",)
    ordering = ("-id",)
    text_search = ("market__symbol__istartswith",)
    fields = ("market", "day", "days", "shown_price", "shown_conversion", "long_percent", "short_percent", "posted")
    shown_price = operators.number("price")
    shown_conversion = operators.number("conversion")
    at_moment = operators.moment("at", "rollover")
    posted = operators.moment("posted_at", "posted")

    @display(description="long, a year")
    def long_percent(self, row: Rollover) -> str:
        return f"{units.plain(row.long_rate * 100)} %"

    @display(description="short, a year")
    def short_percent(self, row: Rollover) -> str:
        return f"{units.plain(row.short_rate * 100)} %"


@admin.register(FinancingCharge)
class FinancingChargeAdmin(operators.HistoryAdmin):
    """Who paid or got how much for which rollover."""

    list_display = ("id", "account", "rollover", "shown_quantity", "shown_amount", "asset", "charged")
    list_select_related = ("account__user", "rollover__market", "asset")
    exact_search = ("account_id",)
    search_help_text = "The whole id of an account."
    fields = ("account", "rollover", "shown_quantity", "shown_amount", "asset", "charged")
    shown_quantity = operators.number("quantity")
    shown_amount = operators.number("amount")
    charged = operators.moment("created_at", "charged")
