"""Competitions over REST."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import competitions
from accounts.models import Competition, CompetitionEntry, User
from marketdata import clock
from marketdata.api.acceptor import read_query
from marketdata.api.fields import MAX_ID, Whole
from marketdata.api.shapes import AmountField
from marketdata.refusals import NotFound
from marketdata.units import plain


class CompetitionEntryShape(serializers.Serializer):
    """Your part in a round. Trade with the header `X-Account: <account>`, or with an API key made under it."""

    competition = serializers.IntegerField()
    round = serializers.IntegerField()
    account = serializers.IntegerField()
    joined_at = serializers.DateTimeField()
    disqualified_at = serializers.DateTimeField(
        allow_null=True,
        help_text="Since then the entry has no rank, and its account takes only orders that reduce a position.",
    )


class CompetitionShape(serializers.Serializer):
    """A contest. Entries trade its markets from `starts_at` until `ends_at`."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    round = serializers.IntegerField()
    status = serializers.ChoiceField(choices=["UPCOMING", "RUNNING", "ENDED", "CLOSED"])
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    starting_asset = serializers.CharField()
    starting_amount = AmountField()
    markets = serializers.ListField(child=serializers.CharField())
    entry = CompetitionEntryShape(allow_null=True, help_text="Yours in the present round.")


class StandingShape(serializers.Serializer):
    """One line. Equal equity shares a rank, and the next rank counts those above: 1, 2, 2, 4."""

    rank = serializers.IntegerField(allow_null=True, help_text="Of a disqualified entry: null.")
    username = serializers.CharField()
    equity = AmountField(
        help_text="All that the entry's account holds, in the starting asset, at the last prices, with what its trades "
        "that are not settled yet will bring and take and the unrealised profit of its margin positions."
    )
    profit = AmountField(help_text="equity - starting_amount.")
    unpriced = serializers.ListField(
        child=serializers.CharField(), help_text="Assets held that nobody can price; not in the equity."
    )
    disqualified = serializers.BooleanField(help_text="By an operator.")


class RoundQuery(serializers.Serializer):
    """Which round; the present one when it is left out."""

    round = Whole(least=1, most=2**31 - 1, required=False)


class CompetitionListView(ListAPIView):
    """Competitions that the user sees."""

    queryset = Competition.objects.none()

    @extend_schema(
        operation_id="competitions_list",
        summary="Competitions",
        description="Public ones and those you are in, newest first.",
        responses=CompetitionShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        page = self.paginate_queryset(competitions.visible_to(request.auth.user_id, request.auth.is_staff))
        entries = _own_entries(request.auth.user_id, page)
        return self.get_paginated_response([competition_row(row, entries.get((row.pk, row.round))) for row in page])


class CompetitionView(APIView):
    """One of them."""

    @extend_schema(operation_id="competitions_read", summary="One competition", responses=CompetitionShape)
    def get(self, request, competition_id: int):
        row = _find(request, competition_id)
        return Response(competition_row(row, _own_entries(request.auth.user_id, [row]).get((row.pk, row.round))))


class JoinView(APIView):
    """Taking part."""

    keys_may = {}

    @extend_schema(
        operation_id="competitions_join",
        summary="Join a competition",
        description=(
            "Makes an account with the starting capital, once per round; asked again, the same entry is answered with "
            "200 and `Idempotent-Replayed: true`. Refused with `competition_closed` once the round is over."
        ),
        request=None,
        responses={201: CompetitionEntryShape, 200: OpenApiResponse(CompetitionEntryShape, "Joined before.")},
    )
    def post(self, request, competition_id: int):
        user = User.objects.get(pk=request.auth.user_id)
        entry, is_new = competitions.join(competition=_find(request, competition_id), user=user)
        if is_new:
            return Response(entry_row(entry), status=201)
        return Response(entry_row(entry), headers={"Idempotent-Replayed": "true"})


class LeaderboardView(ListAPIView):
    """Who leads."""

    queryset = CompetitionEntry.objects.none()

    @extend_schema(
        operation_id="competitions_leaderboard",
        summary="Leaderboard",
        description=(
            "Best first, disqualified entries last. A closed round is told with the equity that it was closed with."
        ),
        parameters=[RoundQuery],
        responses=StandingShape(many=True),
    )
    def get(self, request, competition_id: int):
        wanted = read_query(RoundQuery, request.query_params)
        competition = _find(request, competition_id)
        if wanted.get("round", 1) > competition.round:
            raise NotFound(f"{competition} is in round {competition.round}.")
        page = self.paginate_queryset(competitions.leaderboard(competition, wanted.get("round")))
        return self.get_paginated_response([competitions.standing_row(row, competition) for row in page])


def _find(request, competition_id: int) -> Competition:
    if competition_id > MAX_ID:
        raise NotFound(f"There is no competition {competition_id}.")
    caller = request.auth
    return competitions.find(competition_id=competition_id, user_id=caller.user_id, is_staff=caller.is_staff)


def _own_entries(user_id: int, rows: list[Competition]) -> dict[tuple[int, int], CompetitionEntry]:
    entries = CompetitionEntry.objects.filter(user_id=user_id, competition__in=rows)
    return {(entry.competition_id, entry.round): entry for entry in entries}


def competition_row(row: Competition, entry: CompetitionEntry | None) -> dict:
    """A competition, with its asset and markets loaded, as the wire shows it."""
    return {
        "id": row.pk,
        "name": row.name,
        "round": row.round,
        "status": competitions.status(row),
        "starts_at": clock.text(row.starts_at),
        "ends_at": clock.text(row.ends_at),
        "starting_asset": row.starting_asset.symbol,
        "starting_amount": plain(row.starting_amount),
        "markets": sorted(market.symbol for market in row.markets.all()),
        "entry": entry and entry_row(entry),
    }


def entry_row(entry: CompetitionEntry) -> dict:
    """An entry as its owner sees it."""
    return {
        "competition": entry.competition_id,
        "round": entry.round,
        "account": entry.account_id,
        "joined_at": clock.text(entry.joined_at),
        "disqualified_at": entry.disqualified_at and clock.text(entry.disqualified_at),
    }
