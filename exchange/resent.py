"""A placement sent again that the market would refuse by now: the same request is answered with the first order,
whatever an operator has changed since, the sizes that it takes or its being listed at all.

The matcher finds known ids under the lock before anything that an order can be refused for there. What the doors refuse
before never gets that far, so who prepares a placement from a request does it through `or_replay`. It costs one query,
only of requests that are refused and have a client_order_id.
"""

from collections.abc import Callable
from dataclasses import replace

from exchange.commands import BelowMinNotional, Place, QuantityOutOfRange, Replay
from exchange.models import Order
from marketdata.markets import MarketSpec, load_spec
from marketdata.refusals import Refusal, UnknownMarket

#: By what an operator may change of a market that has orders; tick and lot are for ever.
BY_MARKET = (QuantityOutOfRange, BelowMinNotional, UnknownMarket)


def or_replay(make: Callable[..., Place], **terms) -> Place | Replay:
    """The command that `make` makes of a request's terms; the Replay if it refuses what was placed before."""
    try:
        return make(**terms)
    except BY_MARKET:
        if (replay := _replay(make, terms)) is None:
            raise
        return replay


def market_of(
    find: Callable[[str], MarketSpec], *, account_id: int, symbol: str, client_order_id: str | None
) -> MarketSpec:
    """The market that `find` finds; if that is not listed any more, the one where the first order of this name was
    placed. Only what was done before is to be looked for there.
    """
    try:
        return find(symbol)
    except UnknownMarket:
        if (found := _first(account_id, symbol, client_order_id)) is None:
            raise
        return found[1]


def _first(account_id: int, symbol: str, name: str | None) -> tuple[Order, MarketSpec] | None:
    """The order that was placed under this name before, if it was in this market."""
    first = name and Order.objects.filter(account=account_id, client_order_id=name).first()
    if not first:
        return None
    spec = load_spec(first.market_id)
    return (first, spec) if str(symbol).upper() in (spec.symbol, spec.base + spec.quote) else None


def _replay(make: Callable[..., Place], terms: dict) -> Replay | None:
    """By the fingerprint that the request has whatever the market's sizes are."""
    found = _first(terms["account_id"], terms["symbol"], terms.get("client_order_id"))
    if found is None:
        return None
    first, spec = found
    try:
        again = make(**terms, spec=_of_any_size(spec))
    except Refusal:
        return None
    return Replay(first.pk) if again.fingerprint == first.fingerprint else None


def _of_any_size(spec: MarketSpec) -> MarketSpec:
    return replace(spec, min_quantity=1, max_quantity=10**38, min_notional=0)
