"""The operators' page for margin markets' contracts. Edits go through Contract.save, which validates and counts the
market's version up, so that every process takes them in with its next order.
"""

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from marketdata import operators
from marketdata.models import Contract, MoneyField, RateField


@admin.register(Contract)
class ContractAdmin(operators.OperatorAdmin):
    """Size, leverage and tiers, session, mark, the house's quotes, financing; and the switch that stops new risk."""

    list_display = ("market", "size", "settlement", "max_leverage", "is_reduce_only", "is_quoted", "mark_source")
    list_filter = ("is_reduce_only", "is_quoted", "mark_source")
    list_select_related = ("market", "settlement")
    text_search = ("market__symbol__istartswith",)
    autocomplete_fields = ("market", "settlement")
    formfield_overrides = {
        MoneyField: {"form_class": operators.PlainDecimalField, "widget": UnfoldAdminDecimalFieldWidget},
        RateField: {"form_class": operators.PlainDecimalField, "widget": UnfoldAdminDecimalFieldWidget},
    }
    fieldsets = (
        (None, {"fields": (("market", "settlement"), ("contract_size", "is_reduce_only"))}),
        ("Margin", {"fields": ("max_leverage", "tiers")}),
        ("Session", {"fields": ("hours_zone", "hours", "holidays")}),
        ("Mark", {"fields": (("mark_source", "mark_max_age_seconds"), ("mark_jump", "liquidation_band"))}),
        (
            "The house's quotes",
            {"fields": (("is_quoted", "quote_spread_ticks"), ("quote_size_lots", "exposure_limit_lots"))},
        ),
        (
            "Financing",
            {
                "fields": (
                    ("financing_long_rate", "financing_short_rate"),
                    ("financing_days", "triple_day"),
                    ("rollover_time", "rollover_zone"),
                )
            },
        ),
    )

    shown_contract_size = operators.number("contract_size")

    @display(description="contract")
    def size(self, contract: Contract) -> str:
        return f"{operators.units.plain(contract.contract_size)} {contract.market.base}"

    def get_readonly_fields(self, request: HttpRequest, obj: Contract | None = None):
        if obj is None:
            return ()
        return ("market", "settlement", "shown_contract_size") if obj.market.sequence else ("market",)

    def get_fieldsets(self, request: HttpRequest, obj: Contract | None = None):
        """The size is fixed with the first order, and shown as it is."""
        if "shown_contract_size" not in self.get_readonly_fields(request, obj):
            return self.fieldsets
        fixed = (None, {"fields": (("market", "settlement"), ("shown_contract_size", "is_reduce_only"))})
        return [fixed, *self.fieldsets[1:]]
