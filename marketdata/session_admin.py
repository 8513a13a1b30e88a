"""The operators' pages for trading calendars: weekly hours, holidays, early closes. Imported by marketdata.admin.

A change reaches the markets that follow the calendar with the next command, and moves no end of a DAY order that was
accepted before.
"""

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from unfold.decorators import display

from marketdata import markets, operators
from marketdata.calendar import CONTINUOUS
from marketdata.models import Holiday, TradingCalendar, TradingHours


class SomeHours(BaseInlineFormSet):
    """At least one weekday: a market that follows a calendar without any would never open."""

    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.forms if form.has_changed() or form.instance.pk]
        if not any(form not in self.deleted_forms for form in kept):
            raise ValidationError("Give the hours of at least one weekday: nothing would ever open.")


class HoursOfCalendar(operators.EditInline):
    """The session of each weekday, local time."""

    model = TradingHours
    formset = SomeHours


class HolidaysOfCalendar(operators.EditInline):
    """Days without a session, or with an early close."""

    model = Holiday


@admin.register(TradingCalendar)
class TradingCalendarAdmin(operators.OperatorAdmin):
    """When markets trade."""

    list_display = ("name", "time_zone", "followers")
    text_search = ("name__istartswith",)
    search_help_text = "How the name begins."
    fields = (("name", "time_zone"), "followers")
    readonly_fields = ("followers",)
    inlines = (HoursOfCalendar, HolidaysOfCalendar)

    @display(description="markets")
    def followers(self, calendar: TradingCalendar) -> str:
        if not calendar.pk:
            return "–"
        return ", ".join(calendar.markets.order_by("symbol").values_list("symbol", flat=True)[:20]) or "–"

    def save_related(self, request: HttpRequest, form, formsets, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        form.instance.changed()
        transaction.on_commit(markets.forget)  # before it another thread would only read the old hours again


def session_text(market) -> str:
    """The phase of a market, for a column."""
    state = market.session or {}
    phase = state.get("phase", CONTINUOUS)
    return f"{phase} until {state['until']}" if state.get("until") else phase
