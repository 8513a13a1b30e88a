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


def _replay(make: Callable[..., Place], terms: dict) -> Replay | None:
    """By the fingerprint that the request has whatever the market's sizes are."""
    name = terms.get("client_order_id")
    first = name and Order.objects.filter(account=terms["account_id"], client_order_id=name).first()
    if not first:
        return None
    spec = load_spec(first.market_id)
    if str(terms["symbol"]).upper() not in (spec.symbol, spec.base + spec.quote):
        return None
    try:
        again = make(**terms, spec=_of_any_size(spec))
    except Refusal:
        return None
    return Replay(first.pk) if again.fingerprint == first.fingerprint else None


def _of_any_size(spec: MarketSpec) -> MarketSpec:
    return replace(spec, min_quantity=1, max_quantity=10**38, min_notional=0)
