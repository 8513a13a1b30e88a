"""The operators' pages for competitions: setting one up, entering people, beginning the next round.

Imported by accounts.admin. Everything goes through accounts.competitions.
"""

import re

from django import forms
from django.contrib import admin
from django.db import connection, transaction
from django.db.models import DateTimeField, Field
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from unfold.decorators import action
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextareaWidget

from accounts import competitions
from accounts.models import Competition, CompetitionEntry, User
from marketdata import operators, units
from marketdata.models import MoneyField


class NextRoundForm(operators.ReasonForm):
    """When the next round begins and ends, UTC."""

    starts_at = forms.SplitDateTimeField(label="Starts at (UTC)", widget=UnfoldAdminSplitDateTimeWidget())
    ends_at = forms.SplitDateTimeField(label="Ends at (UTC)", widget=UnfoldAdminSplitDateTimeWidget())


class EnterForm(operators.ReasonForm):
    """Who takes part: one user or a whole class."""

    usernames = forms.CharField(
        max_length=10_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="One or many, with commas, spaces or new lines between them.",
    )

    def clean_usernames(self) -> list[User]:
        names = re.findall(r"[^\s,;]+", self.cleaned_data["usernames"])
        if not names:
            raise forms.ValidationError("This field is required.")
        found = [(name, User.objects.named(name)) for name in names]
        if unknown := [name for name, user in found if user is None]:
            raise forms.ValidationError(f"There are no such users: {', '.join(unknown)}.")
        return list(dict.fromkeys(user for _, user in found))


@admin.register(Competition)
class CompetitionAdmin(operators.OperatorAdmin):
    """Contests. The capital is fixed once somebody has joined; times and markets reach the entries at once."""

    list_display = ("name", "round", "shown_status", "shown_starts_at", "shown_ends_at", "is_public")
    list_filter = ("is_public",)
    ordering = ("-id",)
    exact_search = ("id",)
    text_search = ("name__startswith",)
    search_help_text = "How the name begins, or the whole id."
    fields = (
        ("name", "is_public"), "starts_at", "ends_at", ("starting_asset", "starting_amount"), "markets",
        ("round", "shown_status"),
    )  # fmt: skip
    filter_horizontal = ("markets",)
    formfield_overrides = {
        MoneyField: {"form_class": operators.PlainDecimalField, "widget": UnfoldAdminDecimalFieldWidget},
    }
    actions_detail = ("ranking", "next_round", "enter_users")
    shown_starts_at = operators.moment("starts_at")
    shown_ends_at = operators.moment("ends_at")
    shown_starting_amount = operators.number("starting_amount")

    def shown_status(self, obj: Competition) -> str:
        return competitions.status(obj) if obj.pk else "–"

    shown_status.short_description = "status"

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(db_field, DateTimeField) and field is not None:
            field.label = f"{field.label} (UTC)"
        return field

    def get_fields(self, request: HttpRequest, obj: Competition | None = None):
        fields = super().get_fields(request, obj)
        if "shown_starting_amount" not in self.get_readonly_fields(request, obj):
            return fields
        fixed = ("starting_asset", "shown_starting_amount")
        return [fixed if "starting_amount" in row else row for row in fields]

    def get_readonly_fields(self, request: HttpRequest, obj: Competition | None = None):
        if obj is not None and obj.entries.exists():
            return ("round", "shown_status", "starting_asset", "shown_starting_amount")
        return ("round", "shown_status")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Competition | None:
        """An edit holds the row from the first look at it, as joining, closing and the next round do."""
        if request.method == "POST" and connection.in_atomic_block:
            Competition.objects.select_for_update(no_key=True).filter(pk=operators.row_id(object_id)).first()
        return super().get_object(request, object_id, from_field)

    def save_related(self, request: HttpRequest, form: forms.ModelForm, formsets, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        competitions.apply_terms(form.instance)

    def has_run_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("accounts.change_competition")

    @action(description="Ranking", url_path="ranking", permissions=["view"], icon="leaderboard")
    def ranking(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Who leads, or how a round ended: of this one, or of the one that the address names."""
        row = operators.find(Competition.objects.select_related("starting_asset"), object_id)
        chosen = operators.row_id(request.GET.get("round", row.round))
        if not 1 <= chosen <= row.round:
            raise Http404(f"There is no round {chosen}.")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Ranking of {row}, round {chosen}",
            "table": _ranking_table(row, chosen),
            "rounds": [number for number in range(1, row.round + 1) if number != chosen],
            "back": operators.change_url(row),
        }
        return TemplateResponse(request, "accounts/ranking.html", context)

    @action(description="Next round", url_path="next-round", permissions=["run"], icon="restart_alt")
    def next_round(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = operators.find(Competition, object_id)

        def act(data: dict) -> str:
            number = competitions.next_round(competition=row, starts_at=data["starts_at"], ends_at=data["ends_at"])
            operators.log(request, [row], f"Round {number} begun: {data['reason']}")
            return f"{row} is in round {number}."

        return operators.ask(
            self,
            request,
            form=NextRoundForm(request.POST or None),
            title=f"Next round of {row}",
            text="Everybody of this round gets a new account with the starting capital; the old ones stay as history.",
            button="Begin",
            act=act,
            back=operators.change_url(row),
        )

    @action(description="Enter users", url_path="enter", permissions=["run"], icon="person_add")
    def enter_users(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = operators.find(Competition, object_id)

        def act(data: dict) -> str:
            with transaction.atomic():
                entries = [competitions.enter(competition=row, user=user) for user in data["usernames"]]
                for entry in entries:
                    operators.log(request, [row], f"Entered {entry.user}: {data['reason']}")
            if len(entries) == 1:
                return f"{entries[0]} trades from account {entries[0].account_id}."
            return f"{len(entries)} users take part in {row}."

        return operators.ask(
            self,
            request,
            form=EnterForm(request.POST or None),
            title=f"Enter users into {row}",
            text="An account is made for each user, with the starting capital. Who is in it already stays so.",
            button="Enter",
            act=act,
            back=operators.change_url(row),
        )


def _ranking_table(competition: Competition, round_: int) -> dict:
    asset = competition.starting_asset
    rows = []
    for standing in competitions.leaderboard(competition, round_):
        notes = ["disqualified"] if standing.rank is None else []
        if standing.unpriced:
            notes.append(f"without {', '.join(standing.unpriced)}, which nobody can price")
        link = '<a class="text-link" href="{}">{}</a>'
        rows.append(
            [
                "–" if standing.rank is None else standing.rank,
                format_html(link, operators.change_url(standing.entry), standing.entry.user),
                units.plain(standing.equity),
                units.plain(standing.equity - competition.starting_amount),
                ", ".join(notes),
            ]
        )
    return {"headers": ["rank", "user", f"equity, {asset}", f"profit, {asset}", "note"], "rows": rows}


@admin.register(CompetitionEntry)
class CompetitionEntryAdmin(operators.HistoryAdmin):
    """Who took part, round by round."""

    list_display = (
        "id", "competition", "round", "user", "account", "shown_joined_at", "shown_final_equity",
        "shown_disqualified_at",
    )  # fmt: skip
    list_select_related = ("competition", "user", "account__user", "account__market")
    exact_search = ("id", "account_id", "competition_id")
    text_search = ("user__username__startswith",)
    search_help_text = "How the user's name begins, or the whole id of an entry, an account or a competition."
    fields = (
        ("competition", "round"), ("user", "account"), ("shown_joined_at", "shown_final_equity"),
        "shown_disqualified_at",
    )  # fmt: skip
    shown_joined_at = operators.moment("joined_at")
    shown_final_equity = operators.number("final_equity")
    shown_disqualified_at = operators.moment("disqualified_at", "disqualified")

    def get_readonly_fields(self, request: HttpRequest, obj: CompetitionEntry | None = None):
        return [name for row in self.fields for name in ((row,) if isinstance(row, str) else row)]
