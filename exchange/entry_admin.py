"""Disqualifying entries of competitions, on their page. Imported by exchange.admin."""

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action
from unfold.enums import ActionVariant

from accounts import competitions
from accounts.admin import CompetitionEntryAdmin
from accounts.models import CompetitionEntry
from exchange import closing
from marketdata import operators

admin.site.unregister(CompetitionEntry)


@admin.register(CompetitionEntry)
class TradingEntryAdmin(CompetitionEntryAdmin):
    """Who took part, and who is taken out."""

    actions_detail = ("disqualify", "reinstate")

    def has_run_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Who runs competitions, although no page edits an entry."""
        return request.user.has_perm("accounts.change_competition")

    @action(
        description="Disqualify", url_path="disqualify", permissions=["run"], icon="block", variant=ActionVariant.DANGER
    )
    def disqualify(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def act(entry: CompetitionEntry) -> str:
            return f"Disqualified, {closing.disqualify(entry)} orders cancelled"

        text = (
            "Cancels all its orders. It keeps its trades and has no rank; its account takes only orders that reduce a "
            "position. The next round begins without its owner, who may join it if it is public."
        )
        return self._ask(request, object_id, "Disqualify", text, act, danger=True)

    @action(description="Reinstate", url_path="reinstate", permissions=["run"], icon="undo")
    def reinstate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        def act(entry: CompetitionEntry) -> str:
            competitions.reinstate(entry)
            return "Reinstated"

        text = "It has its rank again, and trades until the round ends. Orders that were cancelled stay so."
        return self._ask(request, object_id, "Reinstate", text, act)

    def _ask(
        self,
        request: HttpRequest,
        object_id: str,
        verb: str,
        text: str,
        act: Callable[[CompetitionEntry], str],
        danger: bool = False,
    ) -> HttpResponse:
        entry = operators.find(CompetitionEntry.objects.select_related("user", "competition"), object_id)

        def logged(data: dict) -> str:
            done = act(entry)
            operators.log(request, [entry], f"{done}: {data['reason']}")
            return f"{entry}: {done.lower()}."

        return operators.ask(
            self,
            request,
            title=f"{verb} {entry}",
            text=text,
            button=verb,
            act=logged,
            back=operators.change_url(entry),
            danger=danger,
        )
