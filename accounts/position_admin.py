"""The operators' pages for margin positions and unpaid losses: read only, the matcher writes them. Imported by
accounts.admin.
"""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from accounts import positions
from accounts.models import MarginSetting, Position, Shortfall
from marketdata import operators


class OpenFilter(admin.SimpleListFilter):
    """Open or closed."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin) -> list[tuple[str, str]]:
        return [("open", "Open"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() is None:
            return queryset
        return queryset.filter(closed_at__isnull=self.value() == "open")


@admin.register(Position)
class PositionAdmin(operators.HistoryAdmin):
    """Net positions, newest first."""

    list_display = (
        "id", "account", "market", "side", "shown_quantity", "shown_margin", "shown_reserved", "shown_realized",
        "shown_opened_at", "shown_closed_at",
    )  # fmt: skip
    list_filter = (OpenFilter, "market")
    list_select_related = ("account__user", "account__market", "market")
    exact_search = ("id", "account_id")
    search_help_text = "The whole id of a position or an account."
    fields = (
        ("account", "market"), ("side", "shown_quantity", "shown_cost"), ("shown_margin", "shown_reserved"),
        ("shown_realized", "shown_fees", "shown_financing"), ("shown_opened_at", "shown_closed_at"),
    )  # fmt: skip
    shown_quantity = operators.number("quantity")
    shown_cost = operators.number("cost")
    shown_margin = operators.number("margin")
    shown_reserved = operators.number("reserved")
    shown_realized = operators.number("realized")
    shown_fees = operators.number("fees")
    shown_financing = operators.number("financing")
    shown_opened_at = operators.moment("opened_at")
    shown_closed_at = operators.moment("closed_at")

    @display(description="side")
    def side(self, position: Position) -> str:
        return positions.side_of(position.quantity)


@admin.register(Shortfall)
class ShortfallAdmin(operators.HistoryAdmin):
    """Losses that were more than the account had: what the insurance fund paid, and what nobody did."""

    list_display = ("id", "account", "market", "asset", "shown_amount", "shown_covered", "shown_uncovered", "shown_at")
    list_filter = ("market", "asset")
    list_select_related = ("account__user", "account__market", "market", "asset")
    exact_search = ("id", "account_id", "trade_id")
    fields = (
        ("account", "market"), ("asset", "trade_id"), ("shown_amount", "shown_covered", "shown_uncovered"), "shown_at",
    )  # fmt: skip
    shown_amount = operators.number("amount")
    shown_covered = operators.number("covered")
    shown_uncovered = operators.number("uncovered")
    shown_at = operators.moment("created_at")


@admin.register(MarginSetting)
class MarginSettingAdmin(operators.HistoryAdmin):
    """The leverage that users have chosen."""

    list_display = ("account", "market", "leverage")
    list_filter = ("market",)
    list_select_related = ("account__user", "account__market", "market")
    exact_search = ("account_id",)
    fields = (("account", "market"), "leverage")
