"""What agents decide: a market state in, intents out. No database."""

from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest

from exchange.engine.book import BUY, SELL
from exchange.simulator.agents import (
    AmendIntent,
    CancelIntent,
    MarketMaker,
    MarketState,
    NoiseTrader,
    OpenOrder,
    PlaceIntent,
    fitted_lots,
    spacing_ticks,
    typical_lots,
)
from marketdata.markets import MarketSpec

SPEC = MarketSpec(
    id=1, version=1, symbol="AAPL", kind="SPOT",
    base="AAPL", base_id=1, base_decimals=8, quote="USD", quote_id=2, quote_decimals=8,
    tick_size=Decimal("0.01"), tick_units=1, price_decimals=2, lot_size=Decimal(1), lot_units=10**8,
    notional_units=10**6, min_quantity=1, max_quantity=100_000, min_notional=10**8,
    price_band=Decimal("0.1"), maker_rate=50_000, taker_rate=100_000, max_open_orders=100,
    reference_price=Decimal("187.5"),
)  # fmt: skip
EMPTY = MarketState(
    spec=SPEC, reference=18_752, low=16_875, high=20_625, bid=None, ask=None, orders=(),
    base_lots=10**6, quote_units=10**18,
)  # fmt: skip


def act(state: MarketState, intents) -> MarketState:
    """The state after a venue that fills nothing has done as intended."""
    resting = {order.id: order for order in state.orders}
    for intent in intents:
        if isinstance(intent, PlaceIntent):
            number = max(resting, default=0) + 1
            resting[number] = OpenOrder(number, intent.side, intent.price, intent.lots, 0)
        elif isinstance(intent, AmendIntent):
            resting[intent.order_id] = replace(resting[intent.order_id], price=intent.price, remaining=intent.lots)
        else:
            del resting[intent.order_id]
    return replace(state, orders=tuple(resting[order_id] for order_id in sorted(resting)))


def ladder(state: MarketState, side: int) -> list[int]:
    return sorted((order.price for order in state.orders if order.side == side), reverse=side == BUY)


@pytest.mark.parametrize(
    ("price", "spacing"),
    [(1, 1), (5_000, 1), (15_000, 2), (18_750, 5), (42_000, 10), (325_000, 50), (6_500_000, 1_000)],
)
def test_quotes_are_spaced_as_people_do(price, spacing):
    assert spacing_ticks(price) == spacing


@pytest.mark.parametrize(
    ("min_notional", "price", "lots"), [(10**8, 18_750, 5), (10**8, 10**6, 2), (0, 18_750, 100), (10**8, 100, 1000)]
)
def test_a_typical_order_follows_the_least_notional(min_notional, price, lots):
    assert typical_lots(replace(SPEC, min_notional=min_notional), price) == lots


@pytest.mark.parametrize(("lots", "fitted"), [(0, 1), (7, 7), (10**9, 100_000)])
def test_quantities_are_moved_into_the_filters(lots, fitted):
    assert fitted_lots(SPEC, 18_750, lots) == fitted


class TestMarketMaker:
    maker = MarketMaker(levels=4)

    def decide(self, state, seed=1):
        return self.maker.decide(state, Random(seed))

    def quoted(self, state=EMPTY):
        return act(state, self.decide(state))

    def test_an_empty_book_gets_the_whole_ladder_at_once(self):
        state = self.quoted()
        assert ladder(state, BUY) == [18_750, 18_745, 18_740, 18_735]
        assert ladder(state, SELL) == [18_755, 18_760, 18_765, 18_770]

    def test_nothing_is_done_while_nothing_changes(self):
        assert self.decide(self.quoted()) == []

    @pytest.mark.parametrize("price", [18_757, 18_747, 18_790, 18_700, 19_500, 18_000])
    def test_it_follows_the_price_without_meeting_itself(self, price):
        state = replace(self.quoted(), reference=price)
        for _ in range(4):
            for intent in self.decide(state):
                state = act(state, [intent])
                assert max(ladder(state, BUY)) < min(ladder(state, SELL))
        assert self.decide(state) == []
        assert max(ladder(state, BUY)) < price < min(ladder(state, SELL))
        assert len(state.orders) == 8

    def test_a_step_of_the_grid_moves_one_quote_a_side(self):
        state = replace(self.quoted(), reference=18_757)
        assert [type(intent) for intent in self.decide(state)] == [AmendIntent, AmendIntent]

    def test_a_jump_takes_several_steps(self):
        state = replace(self.quoted(), reference=19_500)
        assert len(self.decide(state)) == self.maker.most_changes

    def test_an_eaten_quote_is_replaced_at_its_price(self):
        state = self.quoted()
        best = next(order for order in state.orders if order.price == 18_750)
        eaten = replace(best, remaining=1, filled=best.remaining - 1)
        orders = tuple(eaten if order is best else order for order in state.orders)
        cancel, place = self.decide(replace(state, orders=orders))
        assert cancel == CancelIntent(best.id)
        assert (place.side, place.price) == (BUY, 18_750)

    def test_quotes_out_of_the_band_are_left_out(self):
        state = self.quoted(replace(EMPTY, low=18_742, high=18_758))
        assert (ladder(state, BUY), ladder(state, SELL)) == ([18_750, 18_745], [18_755])

    def test_a_price_of_few_ticks_still_has_two_sides(self):
        state = self.quoted(replace(EMPTY, reference=3, low=1, high=6))
        assert (ladder(state, BUY), ladder(state, SELL)) == ([2, 1], [4, 5, 6])


class TestNoiseTrader:
    def decisions(self, state, *, count=400, **terms):
        random = Random(5)
        return [intent for _ in range(count) for intent in NoiseTrader(**terms).decide(state, random)]

    def test_it_is_idle_most_of_the_time(self):
        assert 40 < len(self.decisions(replace(EMPTY, bid=18_750, ask=18_755))) < 120

    def test_it_buys_and_sells_at_market_and_at_limits_within_the_band(self):
        found = self.decisions(replace(EMPTY, bid=18_750, ask=18_755))
        assert {intent.side for intent in found} == {BUY, SELL}
        assert {intent.price is None for intent in found} == {True, False}
        assert all(EMPTY.low <= intent.price <= EMPTY.high for intent in found if intent.price)

    def test_an_empty_book_gets_no_market_orders(self):
        assert all(intent.price for intent in self.decisions(EMPTY))

    def test_without_money_it_does_nothing(self):
        poor = replace(EMPTY, bid=18_750, ask=18_755, base_lots=0, quote_units=0)
        assert self.decisions(poor) == []

    def test_with_enough_in_the_book_it_takes_its_oldest_order_out(self):
        orders = tuple(OpenOrder(number, BUY, 18_700, 5, 0) for number in range(1, 7))
        assert set(self.decisions(replace(EMPTY, orders=orders))) == {CancelIntent(1)}
