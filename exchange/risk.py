"""The risk monitor: after each round of marks it knows which accounts are called and which must be liquidated.

The monitor's functions are plain ones for one thread: `step` decides, `tell` and `check` may wait until what was
decided is on its way. It keeps every user's open positions in a RiskIndex, brought up by what it is told of (`dirty`
accounts, from the hub) and, every CHECK_SECONDS, by comparing event sequences with the database, because a hint can be
lost. The index only finds; an account is liquidated after it was read again.

Rules. A margin call is said once, when equity falls to the call level of used margin, and is over when equity is
CLEAR_PARTS above that. Liquidation begins at the stop-out level, or below maintenance. Positions whose mark is stale
count at their last mark, but are not closed by it; where all of an account's marks are stale, or nothing tells what one
of its losses is worth, nothing is decided about it. Where none of its markets trades its orders go, and its positions
wait.
"""

import logging
import time
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from accounts import conversion, ledger
from accounts.margin import State
from exchange import phases, risk_reading
from exchange.liquidation_plan import Standing, is_at_stop_out
from exchange.margin_reading import level_text
from exchange.risk_index import Holding, Key, RiskIndex, Value, touched, value_of
from exchange.risk_models import MarginCall
from exchange.risk_reading import Purse
from marketdata import clock, hours, marks, units
from marketdata.contracts import RATE_DECIMALS, RATE_ONE
from marketdata.markets import SPEC_RELATIONS, UNREADABLE, MarketSpec, specs_of
from marketdata.models import Asset, Market

logger = logging.getLogger(__name__)

#: How long a lost hint may go unnoticed, and an operator's change.
CHECK_SECONDS = 2.0
#: A call is over when equity is a twentieth above the call level.
CLEAR_PARTS = 20
#: Accounts told of a call in one transaction.
CHUNK = 200


def call_level() -> Decimal:
    """Equity to used margin at which an account is called."""
    return Decimal(settings.MARGIN_CALL_LEVEL)


def stop_out() -> int:
    """Equity to used margin at which positions are closed, in 10^-8."""
    return units.to_units(Decimal(settings.STOP_OUT_LEVEL), RATE_DECIMALS)


@dataclass(slots=True)
class Verdict:
    """What a step came to: who was called, whose call is over, whom to liquidate now."""

    called: list[Key] = field(default_factory=list)
    cleared: list[Key] = field(default_factory=list)
    liquidate: list[Purse] = field(default_factory=list)


class Monitor:
    """All users' margin under the marks."""

    def __init__(self):
        self.index = RiskIndex(call_level())
        self.open_calls: set[Key] = set()
        #: Who is being liquidated: not to be begun again.
        self.under_way: set[Key] = set()
        #: Of whom nobody knows how they stand; told about once.
        self._unknown: set[Key] = set()
        self._specs: dict[int, MarketSpec] = {}
        self._values: dict[int, Value] = {}
        #: Markets that trade, hours aside; those where a position may be closed now; those whose mark tells something.
        self._trading: set[int] = set()
        self._closable: set[int] = set()
        self._fresh: set[int] = set()
        self._sequences: dict[int, int] = {}
        self._keys_of: dict[int, set[Key]] = {}
        self._checked_at = float("-inf")

    def knows(self, account_id: int) -> bool:
        return account_id in self._sequences

    def step(self, dirty: Iterable[int] = ()) -> Verdict:
        """Take in what changed, mark everything, decide."""
        changed = set(dirty)
        if not self._specs:
            changed |= self.check()
        low = set(self._refresh(changed)) if changed else set()
        low.update(touched(self._news(), self.index))
        return self._decide(low)

    # Keeping up

    def check(self) -> set[int]:
        """Operators' changes; the accounts whose events have moved, or that are new or gone: dirty ones. Nothing if the
        last look is not long ago.
        """
        if time.monotonic() - self._checked_at < CHECK_SECONDS:
            return set()
        self._checked_at = time.monotonic()
        self._load_markets()
        if not self.open_calls:
            calls = MarginCall.objects.filter(cleared_at__isnull=True)
            self.open_calls = {Key(*row) for row in calls.values_list("account_id", "asset_id")}
        now = risk_reading.event_sequences()
        moved = {account for account, sequence in now.items() if self._sequences.get(account) != sequence}
        return moved | (self._sequences.keys() - now.keys())

    def _load_markets(self) -> None:
        found = Market.objects.filter(kind=Market.Kind.MARGIN, contract__isnull=False)
        rows = list(found.select_related(*SPEC_RELATIONS))
        self._specs = specs_of(rows)
        self._trading = {row.pk for row in rows if _is_trading(row)}
        for spec in self._specs.values():
            self.index.set_market(spec.id, spec.contract.tiers)

    def _refresh(self, accounts: set[int]) -> list[Key]:
        """Read these accounts again; those of their purses that are low."""
        found = {purse.key: purse for purse in risk_reading.purses(accounts)}
        if any(one.spec.id not in self._specs for purse in found.values() for one in purse.open):
            self._load_markets()
        for account in accounts:
            self._sequences.pop(account, None)
            for key in self._keys_of.pop(account, set()) - found.keys():
                self.index.put(key, 0, [])
        low = []
        for key, purse in found.items():
            self._sequences[key.account_id] = purse.event_sequence
            self._keys_of.setdefault(key.account_id, set()).add(key)
            holdings = [Holding(one.spec.id, *one.net, one.margin) for one in purse.open]
            if self.index.put(key, purse.collateral, holdings):
                low.append(key)
        return low

    def _news(self) -> dict[int, Value]:
        """The markets that are worth something else than before: a mark moved, or what its quote asset is worth."""
        marks.forget()
        latest, news = marks.latest(), {}
        now = clock.now()
        self._fresh = {market_id for market_id, mark in latest.items() if not mark.is_stale}
        self._closable = {
            market_id
            for market_id in self._fresh & self._trading & self._specs.keys()
            if hours.is_open(self._specs[market_id].contract.schedule, now)
        }
        for market_id, spec in self._specs.items():
            if market_id not in latest:
                continue
            try:
                rate = conversion.fraction_of(spec)
            except marks.StalePrice:
                continue  # nobody knows what a profit there is worth: its positions keep their last value
            value = value_of(
                price=latest[market_id].price, lot=spec.lot_size, size=spec.contract.size, rate=rate,
                scale=spec.contract.settlement_decimals, quote_scale=spec.quote_decimals,
            )  # fmt: skip
            if self._values.get(market_id) != value:
                self._values[market_id] = news[market_id] = value
        return news

    # Deciding

    def _decide(self, low: set[Key]) -> Verdict:
        """`low` are those that this round moved; who stays low is known already, or waits to be tried again."""
        limit, verdict = stop_out(), Verdict()
        verdict.called = [key for key in low if key not in self.open_calls]
        verdict.cleared = [key for key in self.open_calls if self._is_cleared(key)]
        self.open_calls = (self.open_calls | set(verdict.called)) - set(verdict.cleared)
        candidates = {key for key in low | self.open_calls if self._is_stopped(key, limit)}
        if candidates:
            read = risk_reading.purses({key.account_id for key in candidates})
            found = self._with_work([purse for purse in read if purse.key in candidates])
            verdict.liquidate = [purse for purse in found if self._must_close(purse, limit)]
        return verdict

    def _with_work(self, purses: list[Purse]) -> list[Purse]:
        """Those that have a position that can be closed now, or orders that can go although none can."""
        valued = [purse for purse in purses if _is_in(purse, self._fresh)]
        shut = {purse.key for purse in valued if not _is_in(purse, self._closable)}
        idle = shut - risk_reading.with_orders(shut) if shut else shut
        return [purse for purse in valued if purse.key not in idle]

    def _must_close(self, purse: Purse, limit: int) -> bool:
        """Where no market tells what a loss is worth nothing is decided, until one does."""
        try:
            is_short = is_at_stop_out(standing(purse.state()), limit)
        except marks.StalePrice as stale:
            if purse.key not in self._unknown:
                self._unknown.add(purse.key)
                logger.error("account %d may have to be liquidated, and cannot be: %s", purse.key.account_id, stale)
            return False
        self._unknown.discard(purse.key)
        return is_short

    def _is_stopped(self, key: Key, limit: int) -> bool:
        level = self.index.level(key)
        return key not in self.under_way and level is not None and is_at_stop_out(Standing(*level), limit)

    def _is_cleared(self, key: Key) -> bool:
        level = self.index.level(key)
        if level is None or not (level.used or level.maintenance):
            return True
        called_at = level.used * int(call_level() * RATE_ONE) // RATE_ONE
        return level.equity > called_at + called_at // CLEAR_PARTS and level.equity >= level.maintenance

    def tell(self, verdict: Verdict) -> None:
        """Keep calls and their ends, and tell the owners, in the same transaction."""
        news = [(key, True) for key in verdict.called] + [(key, False) for key in verdict.cleared]
        assets = Asset.objects.in_bulk({key.asset_id for key, _ in news}) if news else {}
        for start in range(0, len(news), CHUNK):
            with transaction.atomic():
                self._tell_some(news[start : start + CHUNK], assets)

    def _tell_some(self, news: list[tuple[Key, bool]], assets: dict[int, Asset]) -> None:
        now = clock.now()
        with ledger.working_sheet({key.account_id for key, _ in news}, []) as sheet:
            for key, is_call in news:
                equity, used, _ = self.index.level(key) or (0, 0, 0)
                asset = assets[key.asset_id]
                sums = [units.from_units(amount, asset.decimals) for amount in (equity, used)]
                if is_call:
                    MarginCall.objects.create(
                        account_id=key.account_id, asset=asset, equity=sums[0], used=sums[1], called_at=now
                    )
                else:
                    MarginCall.objects.filter(
                        account_id=key.account_id, asset=asset, cleared_at__isnull=True
                    ).update(cleared_at=now)
                kind = "margin_call" if is_call else "margin_call_cleared"
                sheet.emit(key.account_id, {"type": kind, **figures(asset, equity, used)})


def _is_in(purse: Purse, market_ids: Set[int]) -> bool:
    """Whether it has a position in one of these markets."""
    return any(one.spec.id in market_ids for one in purse.open)


def _is_trading(market: Market) -> bool:
    """Not where nobody can read its session: that must not keep the monitor from all others."""
    try:
        phase = phases.State.of(market.session).phase
    except UNREADABLE:
        return False
    return market.is_active and market.status == Market.Status.OPEN and phase == phases.CONTINUOUS


def standing(state: State) -> Standing:
    return Standing(state.equity, state.used, state.maintenance)


def figures(asset: Asset, equity: int, used: int) -> dict:
    """Equity and used margin as the wire shows them."""
    return {
        "asset": asset.symbol,
        "equity": units.text(equity, asset.decimals),
        "used": units.text(used, asset.decimals),
        "level": level_text(Decimal(equity) / Decimal(used) if used else None),
    }
