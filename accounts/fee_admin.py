"""The operators' pages for fees by volume. Imported by accounts.admin.

Tiers are edited here; which account has which is computed once a day (exchange.fee_tiers) and can only be looked at.
"""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from accounts.models import FeeRate, FeeTier
from marketdata import operators
from marketdata.models import MoneyField, RateField


@admin.register(FeeTier)
class FeeTierAdmin(operators.OperatorAdmin):
    """What is paid from which volume on."""

    list_display = ("quote", "shown_min_volume", "shown_maker_fee", "shown_taker_fee")
    list_display_links = ("shown_min_volume",)
    list_filter = ("quote",)
    list_select_related = ("quote",)
    fields = ("quote", "min_volume", ("maker_fee", "taker_fee"))
    autocomplete_fields = ("quote",)
    formfield_overrides = {
        MoneyField: {"form_class": operators.PlainDecimalField, "widget": UnfoldAdminDecimalFieldWidget},
        RateField: {"form_class": operators.PlainDecimalField, "widget": UnfoldAdminDecimalFieldWidget},
    }
    shown_min_volume = operators.number("min_volume", "volume of 30 days")
    shown_maker_fee = operators.number("maker_fee")
    shown_taker_fee = operators.number("taker_fee")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A tier has no history: accounts fall back to what is left, at their next computation at the latest."""
        return super(operators.OperatorAdmin, self).has_delete_permission(request, obj)


@admin.register(FeeRate)
class FeeRateAdmin(operators.HistoryAdmin):
    """Who has which tier."""

    list_display = ("account", "quote", "tier", "shown_volume", "shown_computed_at")
    list_filter = ("quote",)
    list_select_related = ("account__user", "account__market", "quote", "tier__quote")
    exact_search = ("account_id",)
    text_search = ("account__user__username__startswith",)
    search_help_text = "How the owner's name begins, or the whole account id."
    fields = ("account", "quote", "tier", "shown_volume", "shown_computed_at")
    shown_volume = operators.number("volume")
    shown_computed_at = operators.moment("computed_at")
