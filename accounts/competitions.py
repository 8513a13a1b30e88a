"""Competitions: everybody begins with the same capital on an account of its own, and equity decides.

Rounds: 1, 2, …; each entrant has a new account in each round, old ones stay as history. What an entry may trade, and
when, is copied to its account (see accounts.entry_terms), so that the matcher checks it under the account's lock. A
round that is over is closed: open orders are cancelled (by exchange.closing), then every entry's final equity is kept.

Locks: the competition's row, then accounts; no market is locked here, so the order of accounts.ledger holds.
Equity is all that an entry's account holds, at the last prices, with what its unsettled trades bring and take, and the
unrealised profit of its open positions at their marks, in the starting asset; what nobody can price is not in it and is
named. Equal equity shares a rank, and the next rank counts those above: 1, 2, 2, 4. Who is disqualified stands below
all others, without a rank.
Known limits: between the end and its closing (a few seconds in which servers run) resting orders of entries can still
trade, and positions can be reduced; what is open then stays open, for its owner to close. Self-trade prevention looks
at accounts, so a user's main account and entry can trade with each other within the price band.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from accounts import transfers
from accounts.models import Account, Competition, CompetitionEntry, User
from accounts.positions import UNREALIZED
from accounts.unsettled import UNSETTLED
from accounts.valuation import Valuation, load_pairs
from marketdata import bulk, clock
from marketdata.refusals import Malformed, NotFound, Refusal
from marketdata.units import plain

#: What accounts hold, what their unsettled trades change of that, and the unrealised profit of their positions by quote
#: asset. In one statement: a closing moves money from here to there, and must be in neither twice nor not at all.
WORTH = f"""
SELECT b.account_id, b.asset_id, a.symbol, b.available + b.reserved
FROM accounts_balance b JOIN marketdata_asset a ON a.id = b.asset_id
WHERE b.account_id = ANY(%(accounts)s::bigint[])
UNION ALL
SELECT u.account_id, u.asset_id, a.symbol, u.profit
FROM ({UNREALIZED}) u JOIN marketdata_asset a ON a.id = u.asset_id
WHERE u.account_id = ANY(%(accounts)s::bigint[])
UNION ALL
SELECT t.account_id, t.asset_id, a.symbol, t.amount
FROM ({UNSETTLED}) t JOIN marketdata_asset a ON a.id = t.asset_id
WHERE t.account_id = ANY(%(accounts)s::bigint[])
"""


class RoundOver(Refusal):
    """Nobody joins a round that has ended."""

    code, title = "competition_closed", "The round is over"


class RoundNotClosed(Refusal):
    """The next round begins when this one is closed."""

    code, status, title = "round_not_closed", 409, "The present round is not closed yet"


@dataclass(frozen=True, slots=True)
class Standing:
    """One line of a leaderboard. `rank`: None if disqualified. `unpriced`: assets held that nobody can price."""

    rank: int | None
    entry: CompetitionEntry
    equity: Decimal
    unpriced: tuple[str, ...]


class Amount(NamedTuple):
    """Some of an asset that an account has, or stands to gain or lose."""

    asset: int
    symbol: str
    quantity: Decimal


# Who sees what


def visible_to(user_id: int, is_staff: bool) -> QuerySet[Competition]:
    """Public competitions, and those in which the user has an entry; all of them for staff."""
    rows = Competition.objects.select_related("starting_asset").prefetch_related("markets").order_by("-id")
    if is_staff:
        return rows
    entered = CompetitionEntry.objects.filter(user_id=user_id).values("competition_id")
    return rows.filter(Q(is_public=True) | Q(pk__in=entered))


def find(*, competition_id: int, user_id: int, is_staff: bool = False) -> Competition:
    """A competition that the user sees; NotFound."""
    competition = visible_to(user_id, is_staff).filter(pk=competition_id).first()
    if competition is None:
        raise NotFound(f"There is no competition {competition_id}.")
    return competition


def status(competition: Competition) -> str:
    """UPCOMING, RUNNING, ENDED (being closed) or CLOSED."""
    moment = clock.now()
    if competition.closed_round == competition.round:
        return "CLOSED"
    if moment < competition.starts_at:
        return "UPCOMING"
    return "RUNNING" if moment < competition.ends_at else "ENDED"


# Taking part


def join(*, competition: Competition, user: User) -> tuple[CompetitionEntry, bool]:
    """The user's entry in the present round and whether it is new. RoundOver once that has ended."""
    with transaction.atomic():
        locked = _locked_row(competition.pk)
        known = CompetitionEntry.objects.filter(competition=locked, round=locked.round, user=user).first()
        if known is not None:
            return known, False
        if status(locked) in ("ENDED", "CLOSED"):
            raise RoundOver(f"Round {locked.round} of {locked} is over.")
        return _enter(locked, user), True


def enter(*, competition: Competition, user: User) -> CompetitionEntry:
    """The same by an operator, for competitions that are not public."""
    return join(competition=competition, user=user)[0]


def _enter(competition: Competition, user: User) -> CompetitionEntry:
    """An entry with its account and starting capital; the competition's row is locked."""
    account = Account.objects.create(
        user=user,
        kind=Account.Kind.SUB,
        name=f"{user} in {competition}"[:64],
        opens_at=competition.starts_at,
        closes_at=competition.ends_at,
        market_ids=_market_ids(competition),
    )
    transfers.deposit(
        account=account,
        asset=competition.starting_asset,
        amount=competition.starting_amount,
        reason=f"starting capital of {competition}, round {competition.round}",
    )
    return CompetitionEntry.objects.create(
        competition=competition, round=competition.round, user=user, account=account, joined_at=clock.now()
    )


def _market_ids(competition: Competition) -> list[int]:
    """Where entries may trade: nowhere once the round has ended, as `stop` leaves it."""
    if status(competition) in ("ENDED", "CLOSED"):
        return []
    return sorted(competition.markets.values_list("pk", flat=True))


# What operators do


def apply_terms(competition: Competition) -> int:
    """Give the present round's accounts the competition's times and markets after an edit; how many accounts.

    A closed round stays as it is, and so does who is disqualified.
    """
    with transaction.atomic():
        locked = _locked_row(competition.pk)
        if locked.closed_round == locked.round:
            return 0
        playing = locked.entries.filter(round=locked.round, disqualified_at=None)
        return Account.objects.filter(pk__in=_locked_accounts(playing)).update(
            opens_at=locked.starts_at, closes_at=locked.ends_at, market_ids=_market_ids(locked)
        )


def disqualify(entry: CompetitionEntry) -> None:
    """From now on the entry has no rank, and its account takes only orders that reduce a position, as after the end of
    the round. Doing it again changes nothing. What it has open is cancelled by exchange.closing.
    """
    with transaction.atomic():
        _, account = _locked(entry)
        moment = entry.disqualified_at = entry.disqualified_at or clock.now()
        entry.save(update_fields=["disqualified_at"])
        account.closes_at, account.market_ids = min(account.closes_at, moment), []
        account.save(update_fields=["closes_at", "market_ids"])


def reinstate(entry: CompetitionEntry) -> None:
    """Take that back: it has its rank again, and trades again if its round has not ended."""
    with transaction.atomic():
        competition, account = _locked(entry)
        entry.disqualified_at = None
        entry.save(update_fields=["disqualified_at"])
        if competition.closed_round < entry.round == competition.round:
            account.opens_at, account.closes_at = competition.starts_at, competition.ends_at
            account.market_ids = _market_ids(competition)
            account.save(update_fields=["opens_at", "closes_at", "market_ids"])


def _locked_row(competition_id: int) -> Competition:
    return Competition.objects.select_for_update(no_key=True).get(pk=competition_id)


def _locked(entry: CompetitionEntry) -> tuple[Competition, Account]:
    """The entry's competition and account, locked in this order; the entry is read again."""
    competition = _locked_row(entry.competition_id)
    entry.refresh_from_db()
    return competition, Account.objects.select_for_update(no_key=True).get(pk=entry.account_id)


def next_round(*, competition: Competition, starts_at: datetime, ends_at: datetime) -> int:
    """Begin the next round, with everybody who was in the present one and is not disqualified, on new accounts; its
    number. RoundNotClosed.
    """
    if ends_at <= starts_at or ends_at <= clock.now():
        raise Malformed("A round ends after it starts, and in the future.")
    with transaction.atomic():
        locked = _locked_row(competition.pk)
        if locked.closed_round != locked.round:
            raise RoundNotClosed(f"Round {locked.round} ends at {clock.text(locked.ends_at)} and is closed then.")
        users = User.objects.filter(
            competition_entries__competition=locked,
            competition_entries__round=locked.round,
            competition_entries__disqualified_at=None,
            is_active=True,
        )
        entrants = list(users.order_by("pk"))
        locked.round += 1
        locked.starts_at, locked.ends_at = starts_at, ends_at
        locked.save(update_fields=["round", "starts_at", "ends_at"])
        for user in entrants:
            _enter(locked, user)
    return locked.round


def due() -> list[Competition]:
    """Competitions whose round has ended and is not closed."""
    return list(Competition.objects.filter(ends_at__lte=clock.now()).exclude(closed_round=F("round")).order_by("pk"))


def stop(competition: Competition) -> list[int]:
    """Let the entries of a round that has ended trade nothing any more, and name their accounts; none when somebody
    closed it or the end was moved.

    Each account is locked once: what was placed before is committed by then, and whoever has the lock later finds no
    market left, even if its own clock says that the round still runs.
    """
    with transaction.atomic():
        locked = _locked_row(competition.pk)
        ended = locked.entries.filter(round=locked.round) if status(locked) == "ENDED" else locked.entries.none()
        accounts = _locked_accounts(ended)
        Account.objects.filter(pk__in=accounts).update(market_ids=[])
    return accounts


def _locked_accounts(entries: QuerySet[CompetitionEntry]) -> list[int]:
    """The entries' accounts, locked in id order, as everybody takes them."""
    ids = entries.values("account_id")
    return [row.pk for row in Account.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")]


def close(competition: Competition) -> bool:
    """Keep every entry's final equity, at the prices of now; False when somebody did or the end was moved."""
    with transaction.atomic():
        locked = _locked_row(competition.pk)
        if status(locked) != "ENDED":
            return False
        standings = leaderboard(locked)
        for standing in standings:
            standing.entry.final_equity = standing.equity
        CompetitionEntry.objects.bulk_update([standing.entry for standing in standings], ["final_equity"])
        locked.closed_round = locked.round
        locked.save(update_fields=["closed_round"])
    return True


# Who leads


def leaderboard(competition: Competition, round_: int | None = None) -> list[Standing]:
    """Everybody in a round (the present one unless named), best first; two queries and the prices.

    A closed round is told as it was closed. Within a rank, who joined first stands first.
    """
    round_ = round_ or competition.round
    entries = list(competition.entries.filter(round=round_).select_related("user"))
    if round_ <= competition.closed_round:
        return ranked((entry, entry.final_equity, ()) for entry in entries)
    valuation = Valuation(competition.starting_asset, load_pairs())
    amounts = _amounts([entry.account_id for entry in entries])
    return ranked((entry, *_equity(amounts[entry.account_id], valuation)) for entry in entries)


def _amounts(accounts: list[int]) -> dict[int, list[Amount]]:
    """What makes each account's equity."""
    found = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(WORTH, {"accounts": bulk.array(accounts, "bigint")})
        for account, *amount in cursor.fetchall():
            found[account].append(Amount(*amount))
    return found


def _equity(amounts: list[Amount], valuation: Valuation) -> tuple[Decimal, tuple[str, ...]]:
    values = [(one.symbol, valuation.value(one.asset, one.quantity)) for one in amounts]
    priced = sum((value for _, value in values if value is not None), Decimal(0))
    return priced, tuple(sorted({symbol for symbol, value in values if value is None}))


def ranked(rows: Iterable[tuple[CompetitionEntry, Decimal, tuple[str, ...]]]) -> list[Standing]:
    """Lines in order with their ranks. Pure."""
    ordered = sorted(rows, key=lambda row: (row[0].disqualified_at is not None, -row[1], row[0].pk))
    standings: list[Standing] = []
    for place, (entry, equity, unpriced) in enumerate(ordered, 1):
        is_tied = bool(standings) and standings[-1].equity == equity
        rank = standings[-1].rank if is_tied else place
        standings.append(Standing(None if entry.disqualified_at else rank, entry, equity, unpriced))
    return standings


def standing_row(standing: Standing, competition: Competition) -> dict:
    """A line of the leaderboard as everybody sees it."""
    profit = standing.equity - competition.starting_amount
    return {
        "rank": standing.rank,
        "username": standing.entry.user.username,
        "equity": plain(standing.equity),
        "profit": plain(profit),
        "unpriced": list(standing.unpriced),
        "disqualified": standing.rank is None,
    }
