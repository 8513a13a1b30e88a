"""What was refused is forgotten: a refusal keeps nothing of the batch in which it was decided."""

import gc

import pytest

from exchange import orders
from exchange.batch import Batch
from marketdata.refusals import Refusal

REFUSED = {
    "self_trade": "ann BUY 1 AAPL @ 101",
    "would_take": "bob BUY 1 AAPL @ 101 POST",
    "cannot_fill": "bob BUY 100 AAPL @ 101 FOK",
    "no_liquidity": "bob BUY 1 BTC_USDT MARKET",
    "insufficient_funds": "bob SELL 1 AAPL @ 102",
}


@pytest.fixture
def market(venue):
    venue.trader("ann", AAPL=100, USD=10_000)
    venue.trader("bob", USD=100_000, USDT=1_000)
    venue.order("ann SELL 5 AAPL @ 101")
    return venue


def refusal_of(venue, sentence: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        orders.place(venue.command(sentence))
    return caught.value


@pytest.mark.parametrize("code", REFUSED)
def test_each_refusal_is_its_own_and_leads_to_no_batch(market, code):
    first, second = refusal_of(market, REFUSED[code]), refusal_of(market, REFUSED[code])
    assert (first.code, second.code) == (code, code)
    assert first is not second
    gc.collect()
    # By type: asking a weak proxy for its class fails once its object is gone.
    alive = [thing for thing in gc.get_objects() if type(thing) is Batch]
    assert len(alive) <= 1  # the last one, while its thread waits for more
