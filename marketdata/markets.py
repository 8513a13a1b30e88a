"""A market as the matcher sees it: filters as whole numbers, and how to find one by symbol.

`MarketSpec` is what never changes between two versions of the row. `by_symbol` answers from a small cache that is
as old as CACHE_SECONDS at most; whoever acts on money reads the row again under its lock (see `spec_of`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.core.exceptions import ObjectDoesNotExist, SynchronousOnlyOperation
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Concat
from django.db.models.signals import post_save

from marketdata import contracts, threads, units
from marketdata.contracts import RATE_DECIMALS, ContractSpec
from marketdata.models import Contract, Market
from marketdata.refusals import UnknownMarket, UnreadableMarket
from marketdata.rules import NO_RULES, Rules, rules_of

__all__ = [
    "MarketSpec", "active", "by_id", "by_symbol", "cached", "complete", "connect", "forget", "keep_fresh", "load_spec",
    "settlements", "spec_of", "specs_of",
]  # fmt: skip
logger = logging.getLogger(__name__)

#: What `spec_of` reads besides the row.
SPEC_RELATIONS = ("base", "quote", "contract__settlement")
CACHE_SECONDS = 1.0
#: When a cache was loaded that is not to be used.
FORGOTTEN = float("-inf")
#: What says that a row's figures make no spec. A database that does not answer is none of these.
UNREADABLE = (ArithmeticError, LookupError, ObjectDoesNotExist, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """One version of a market's row. Prices in ticks, quantities in lots, money in quote units, rates in 10^-8."""

    id: int
    version: int
    symbol: str
    kind: str
    base: str
    base_id: int
    base_decimals: int
    quote: str
    quote_id: int
    quote_decimals: int
    tick_size: Decimal
    tick_units: int
    price_decimals: int
    lot_size: Decimal
    lot_units: int
    notional_units: int
    min_quantity: int
    max_quantity: int
    min_notional: int
    price_band: Decimal | None
    maker_rate: int
    taker_rate: int
    max_open_orders: int
    reference_price: Decimal | None
    trigger_by: str = "LAST"
    rules: Rules = NO_RULES
    #: The terms of a margin market; None for spot.
    contract: ContractSpec | None = None

    def is_same_market(self, other: "MarketSpec") -> bool:
        """Whether the same is traded there, for the same: an operator may change that until the first order."""
        mine, others = (
            (one.kind, one.base_id, one.quote_id, one.contract and (one.contract.settlement_id, one.contract.size))
            for one in (self, other)
        )
        return mine == others

    @property
    def grid(self) -> tuple[str, str]:
        """What a tick and a lot are, as texts: an operator may change that until the first order."""
        return units.plain(self.tick_size), units.plain(self.lot_size)

    def reserve_decimals(self, side: int) -> int:
        """Of the asset that an order of this side sets aside."""
        if self.contract is not None:
            return self.contract.settlement_decimals
        return self.quote_decimals if side > 0 else self.base_decimals

    def contract_ratio(self) -> tuple[int, int]:
        """Units of the base asset in one of quantity, as a fraction: 1 but on margin markets."""
        return (1, 1) if self.contract is None else self.contract.size.as_integer_ratio()

    def price_text(self, ticks: int) -> str:
        return units.text(ticks * self.tick_units, self.price_decimals)

    def price(self, ticks: int) -> Decimal:
        return units.from_units(ticks * self.tick_units, self.price_decimals)

    def quantity_text(self, lots: int) -> str:
        return units.text(lots * self.lot_units, self.base_decimals)

    def quantity(self, lots: int) -> Decimal:
        return units.from_units(lots * self.lot_units, self.base_decimals)

    def quote_text(self, amount: int) -> str:
        return units.text(amount, self.quote_decimals)

    def notional(self, price: int, quantity: int) -> int:
        """Ticks × lots in quote units: exact, because tick × lot is whole."""
        return price * quantity * self.notional_units

    def ticks(self, price: Decimal) -> int:
        """NotWhole when the price is off the tick."""
        return units.steps(price, self.tick_size)

    def nearest(self, price: Decimal) -> int:
        """The tick that a price between two counts as."""
        return max(1, round(price / self.tick_size))

    def lots(self, quantity: Decimal) -> int:
        """NotWhole when the quantity is off the lot."""
        return units.steps(quantity, self.lot_size)


def spec_of(market: Market) -> MarketSpec:
    """The spec of a row with its assets loaded."""
    price_decimals = units.decimals_of(market.tick_size)
    contract = contracts.spec_of(market.contract) if market.kind == Market.Kind.MARGIN else None
    step = market.tick_size * market.lot_size * (contract.size if contract else 1)
    return MarketSpec(
        id=market.id,
        version=market.version,
        symbol=market.symbol,
        kind=market.kind,
        base=market.base.symbol,
        base_id=market.base_id,
        base_decimals=market.base.decimals,
        quote=market.quote.symbol,
        quote_id=market.quote_id,
        quote_decimals=market.quote.decimals,
        tick_size=market.tick_size,
        tick_units=units.to_units(market.tick_size, price_decimals),
        price_decimals=price_decimals,
        lot_size=market.lot_size,
        lot_units=units.to_units(market.lot_size, market.base.decimals),
        notional_units=units.to_units(step, market.quote.decimals),
        min_quantity=units.steps(market.min_quantity, market.lot_size) if market.min_quantity else 1,
        max_quantity=units.steps(market.max_quantity, market.lot_size),
        min_notional=units.to_units(market.min_notional, market.quote.decimals),
        price_band=market.price_band,
        maker_rate=units.to_units(market.maker_fee, RATE_DECIMALS),
        taker_rate=units.to_units(market.taker_fee, RATE_DECIMALS),
        max_open_orders=market.max_open_orders,
        reference_price=market.reference_price,
        trigger_by=market.trigger_by,
        rules=rules_of(market),
        contract=contract,
    )


#: Versions of markets that were left out and told about.
_told: set[tuple[int, int]] = set()


def specs_of(rows: Iterable[Market]) -> dict[int, MarketSpec]:
    """The specs of rows with their assets loaded, by id. A row of which none can be made is left out and logged once:
    the figures of one market must not take all others with them.
    """
    specs = {}
    for row in rows:
        try:
            specs[row.id] = spec_of(row)
        except UNREADABLE as error:
            _tell(row, error)
    return specs


def _tell(row: Market, error: Exception) -> None:
    if (row.id, row.version) not in _told:
        _told.add((row.id, row.version))
        logger.error("market %s is left out, its figures cannot be read: %r", row.symbol, error)


def complete() -> QuerySet[Market]:
    """The markets of which `spec_of` can be made: a margin market has no terms, and no orders, before its contract."""
    return Market.objects.filter(Q(kind=Market.Kind.SPOT) | Q(contract__isnull=False))


def contract_ratio(market: Market) -> tuple[int, int]:
    """The same of a row."""
    return market.contract.contract_size.as_integer_ratio() if hasattr(market, "contract") else (1, 1)


def load_spec(market_id: int) -> MarketSpec:
    """The spec as it stands in the database now; UnreadableMarket when none can be made of it."""
    row = Market.objects.select_related(*SPEC_RELATIONS).get(pk=market_id)
    try:
        return spec_of(row)
    except UNREADABLE as error:
        _tell(row, error)
        raise _unreadable(row.symbol) from error


def _unreadable(symbol: str) -> UnreadableMarket:
    return UnreadableMarket(f"The figures of {symbol} make no sense; an operator must mend them.")


class _Directory:
    """Specs of the active markets by symbol, and by base+quote without a separator.

    Event loops must not load it, so while they use it a look-up thread loads it anew ahead of time.
    """

    def __init__(self):
        self.by_name: dict[str, MarketSpec] = {}
        self.by_id: dict[int, MarketSpec] = {}
        #: Symbols of those that are left out: the matcher must not ask the database again for each position there.
        self.unread: dict[int, str] = {}
        self.settlements: frozenset[int] = frozenset()
        self.loaded_at = FORGOTTEN
        self._forgotten = 0
        self._is_renewing = False

    def find(self, name: str) -> MarketSpec | None:
        """The market of that name; SynchronousOnlyOperation in an event loop when the cache is too old."""
        age = time.monotonic() - self.loaded_at
        if 2 * age > CACHE_SECONDS:
            is_loop = asyncio._get_running_loop() is not None
            if age > CACHE_SECONDS:
                if is_loop:
                    raise SynchronousOnlyOperation("The cache of markets is too old; load it in a thread.")
                self.load()
            elif is_loop and not self._is_renewing:
                self._is_renewing = True
                threads.lookups.start(self.renew)
        return self.by_name.get(name)

    def renew(self) -> None:
        """Load ahead of time."""
        try:
            self.load()
        finally:
            self._is_renewing = False

    def load(self) -> None:
        """Look which versions the markets are at, and read those that are new here."""
        loaded_at, forgotten = time.monotonic(), self._forgotten
        known = {} if self.loaded_at == FORGOTTEN else self.by_id
        active = complete().filter(is_active=True)
        rows = list(active.order_by("-id").values_list("id", "version", "symbol"))
        versions = {row: version for row, version, _ in rows}
        by_id = {row: known[row] for row, version in versions.items() if row in known and known[row].version == version}
        by_id |= specs_of(active.filter(pk__in=versions.keys() - by_id.keys()).select_related(*SPEC_RELATIONS))
        specs = [by_id[row] for row in versions if row in by_id]
        self.settlements = frozenset(Contract.objects.values_list("settlement", flat=True).distinct())
        by_name = {spec.base + spec.quote: spec for spec in specs}
        by_name.update((spec.symbol, spec) for spec in specs)
        if forgotten != self._forgotten:
            loaded_at = FORGOTTEN  # good for this look-up, but the next one must look again
        self.unread = {row: symbol for row, _, symbol in rows if row not in by_id}
        self.by_id, self.by_name, self.loaded_at = by_id, by_name, loaded_at

    def forget(self) -> None:
        self._forgotten += 1
        self.loaded_at = FORGOTTEN

    def expire(self) -> None:
        """The next look-up reads what is new."""
        self._forgotten += 1
        self.loaded_at = min(self.loaded_at, time.monotonic() - 2 * CACHE_SECONDS)


_directory = _Directory()


def by_symbol(symbol: str) -> MarketSpec:
    """The active market of that symbol (any case, also as base+quote); UnknownMarket otherwise."""
    spec = _directory.find(str(symbol).upper())
    if spec is None:
        raise _unknown(symbol)
    return spec


def id_of(symbol: str) -> int:
    """The id of the market of that name, of one that is not active too: what rests and was done there stays its
    owner's to see and to cancel. UnknownMarket.
    """
    name = symbol.upper()
    if spec := _directory.find(name):
        return spec.id
    rows = Market.objects.annotate(pair=Concat("base__symbol", "quote__symbol")).order_by("pk")
    found = dict(rows.filter(Q(symbol=name) | Q(pair=name)).values_list("symbol", "pk"))
    if not found:
        raise _unknown(symbol)
    return found.get(name) or next(iter(found.values()))


def _unknown(symbol: str) -> UnknownMarket:
    return UnknownMarket(f"There is no market {symbol!r}; GET /api/v1/markets/ lists them.")


def cached(symbol: str) -> MarketSpec | None:
    """The market if the cache knows it and is fresh, else None: for callers that must not touch the database."""
    try:
        return _directory.find(symbol.upper())
    except SynchronousOnlyOperation:
        return None


def by_id(market_id: int) -> MarketSpec:
    """The market of that id, active or not: for what never changes about it. UnreadableMarket as from `load_spec`."""
    _directory.find("")
    if (symbol := _directory.unread.get(market_id)) is not None:
        raise _unreadable(symbol)
    return _directory.by_id.get(market_id) or load_spec(market_id)


def settlements() -> frozenset[int]:
    """The assets in which some margin market is settled, active or not, as far as is known here: see `keep_fresh`."""
    return _directory.settlements


def active() -> list[MarketSpec]:
    """All active markets, by symbol; as old as the cache at most."""
    _directory.find("")
    return sorted(set(_directory.by_name.values()), key=lambda spec: spec.symbol)


def keep_fresh(call: Callable[[Callable], object]) -> None:
    """Load the cache anew before it is too old, through `call`, which knows where the database may be asked. Later than
    look-ups do, which load it while others go on.
    """
    if 4 * (time.monotonic() - _directory.loaded_at) > 3 * CACHE_SECONDS:
        call(_directory.load)


def forget() -> None:
    """Drop the cache: after an operator's change, and between tests."""
    _directory.forget()


def connect() -> None:
    """Listen to saves of markets, of which those of their contracts are part; called once, when the app is ready."""
    post_save.connect(_was_saved, sender=Market, dispatch_uid="expire-markets")


def _was_saved(**kwargs) -> None:
    """Before the commit another thread would only read the old row again."""
    transaction.on_commit(_directory.expire)
