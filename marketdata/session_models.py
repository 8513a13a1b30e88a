"""The tables behind marketdata.calendar: weekly hours, holidays and early closes. Part of marketdata.models.

A change of any of them counts up the version of the markets that follow the calendar, so that every process notices.
"""

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q

from marketdata import calendar


class TradingCalendar(models.Model):
    """The sessions of one or more markets."""

    name = models.CharField(max_length=64, unique=True)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="Such as America/New_York.")

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name

    def clean(self):
        if self.time_zone not in calendar.time_zones():
            raise ValidationError({"time_zone": f"There is no time zone {self.time_zone!r}."})

    @transaction.atomic
    def save(self, *args, **kwargs):
        """A new name locks the row against all who refer to it, the matcher with one of the markets too: these first.
        """
        self.clean()
        if not self._state.adding:
            self.changed()
        super().save(*args, **kwargs)

    @transaction.atomic
    def changed(self) -> None:
        """Let the markets' processes know. The markets are locked by id, as everybody locks them; before that the
        calendar, as by a market that is about to follow it (Market.clean): else it would come with the old hours, and
        never hear of these. NO KEY, because a matcher that has one of the markets may refer to the calendar as well.
        """
        TradingCalendar.objects.select_for_update(no_key=True).filter(pk=self.pk).first()
        followers = self.markets.order_by("pk").select_for_update(no_key=True)
        self.markets.filter(pk__in=[market.pk for market in followers.only("pk")]).update(version=F("version") + 1)


class DayModel(models.Model):
    """A row that belongs to a calendar."""

    class Meta:
        abstract = True

    @transaction.atomic
    def save(self, *args, **kwargs):
        self.clean()
        super().save(*args, **kwargs)
        self.calendar.changed()

    @transaction.atomic
    def delete(self, *args, **kwargs):
        result = super().delete(*args, **kwargs)
        self.calendar.changed()
        return result


class TradingHours(DayModel):
    """One weekday's session in local time. It lies within the day; see marketdata.calendar for the phases."""

    class Weekday(models.IntegerChoices):
        MONDAY = 0
        TUESDAY = 1
        WEDNESDAY = 2
        THURSDAY = 3
        FRIDAY = 4
        SATURDAY = 5
        SUNDAY = 6

    calendar = models.ForeignKey(TradingCalendar, models.CASCADE, related_name="hours")
    weekday = models.PositiveSmallIntegerField(choices=Weekday)
    pre_open = models.TimeField(null=True, blank=True, help_text="Orders are collected from here on; empty: not.")
    opens = models.TimeField()
    closing = models.TimeField(null=True, blank=True, help_text="The closing auction begins; empty: there is none.")
    closes = models.TimeField()

    class Meta:
        ordering = ["calendar", "weekday"]
        verbose_name_plural = "trading hours"
        constraints = [
            models.UniqueConstraint(fields=["calendar", "weekday"], name="trading_hours_once_per_weekday"),
            models.CheckConstraint(condition=Q(opens__lt=F("closes")), name="trading_hours_open_before_close"),
            models.CheckConstraint(
                condition=Q(pre_open__isnull=True) | Q(pre_open__lt=F("opens")), name="trading_hours_pre_open_first"
            ),
            models.CheckConstraint(
                condition=Q(closing__isnull=True) | Q(closing__gt=F("opens"), closing__lt=F("closes")),
                name="trading_hours_closing_within",
            ),
        ]

    def clean(self):
        """The times of a day stand in order. Those that are missing are told by their fields."""
        pre_open, opens, closing, closes = [
            self._meta.get_field(name).to_python(getattr(self, name))
            for name in ("pre_open", "opens", "closing", "closes")
        ]
        if opens is None or closes is None:
            return
        errors = {}
        if opens >= closes:
            errors["closes"] = "Must be later than it opens, on the same day."
        elif closing is not None and not opens < closing < closes:
            errors["closing"] = "Must lie between opening and closing time."
        if pre_open is not None and pre_open >= opens:
            errors["pre_open"] = "Must be earlier than it opens."
        if errors:
            raise ValidationError(errors)

    def __str__(self):
        return f"{self.calendar} {self.get_weekday_display()}"


class Holiday(DayModel):
    """A day that differs from its weekday: no session, or an early close."""

    calendar = models.ForeignKey(TradingCalendar, models.CASCADE, related_name="holidays")
    day = models.DateField()
    name = models.CharField(max_length=64, blank=True)
    closes_early = models.TimeField(null=True, blank=True, help_text="Local; empty: no session at all.")

    class Meta:
        ordering = ["calendar", "day"]
        constraints = [models.UniqueConstraint(fields=["calendar", "day"], name="holiday_once_per_day")]

    def __str__(self):
        return f"{self.calendar} {self.day} {self.name}".strip()
