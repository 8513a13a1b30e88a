"""What agents decide: a market state in, intents out. No database."""

from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest

from exchange.engine.book import BUY, SELL
from exchange.simulator.agents import (
    AmendIntent,
    CancelIntent,
    MarketState,
    OpenOrder,
    PlaceIntent,
    fitted_lots,
    spacing_ticks,
    typical_lots,
)
from exchange.simulator.makers import MarketMaker
from exchange.simulator.takers import Institution, MomentumTrader, NoiseTrader, ReversionTrader
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
    [(1, 1), (5_000, 2), (15_000, 5), (18_750, 5), (42_000, 20), (325_000, 100), (6_500_000, 2_000)],
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

    def test_with_enough_in_the_book_it_takes_one_of_its_orders_out(self):
        orders = tuple(OpenOrder(number, BUY, 18_700, 5, 0) for number in range(1, 7))
        assert set(self.decisions(replace(EMPTY, orders=orders))) == {CancelIntent(number) for number in range(1, 7)}

    def test_it_takes_in_runs_and_mixes_sizes(self):
        trader, random = NoiseTrader(activity=1, market_share=1, cancel_share=0), Random(5)
        state = replace(EMPTY, bid=18_750, ask=18_755)
        taken = [intent for _ in range(2000) for intent in trader.decide(state, random)]
        same = sum(one.side == other.side for one, other in zip(taken, taken[1:], strict=False)) / len(taken)
        assert 0.7 < same < 0.95
        sizes = sorted(intent.lots for intent in taken)
        assert sizes[len(sizes) // 2] in range(2, 6) and sizes[-1] > 10 * sizes[len(sizes) // 2]

    def test_it_is_busier_in_a_lively_market(self):
        quiet = self.decisions(replace(EMPTY, bid=18_750, ask=18_755))
        assert len(self.decisions(replace(EMPTY, bid=18_750, ask=18_755, activity=3.0))) > 2 * len(quiet)


class TestConditionsAndInventory:
    maker = MarketMaker(levels=2)

    def best(self, **terms) -> tuple[int, int]:
        state = replace(EMPTY, **terms)
        state = act(state, self.maker.decide(state, Random(1)))
        return ladder(state, BUY)[0], ladder(state, SELL)[0]

    @pytest.mark.parametrize(
        ("terms", "bid", "ask"),
        [
            ({}, 18_750, 18_755),
            ({"inventory": 10**6}, 18_745, 18_750),
            ({"inventory": -(10**6)}, 18_755, 18_760),
            ({"inventory": 10}, 18_750, 18_755),
            ({"spread_factor": 4.0}, 18_740, 18_760),
            ({"volatility": 6.0}, 18_740, 18_760),
        ],
        ids=["ordinary", "long", "short", "hardly long", "widened", "volatile"],
    )
    def test_quotes_lean_against_the_stock_and_step_back_from_trouble(self, terms, bid, ask):
        assert self.best(**terms) == (bid, ask)

    def test_less_depth_shrinks_the_quotes_that_stand(self):
        state = act(EMPTY, self.maker.decide(EMPTY, Random(1)))
        thin = replace(state, depth_factor=0.1)
        for _ in range(3):
            thin = act(thin, self.maker.decide(thin, Random(1)))
        assert max(order.remaining for order in thin.orders) < min(order.remaining for order in state.orders) / 2
        assert self.maker.decide(thin, Random(1)) == []


class TestTakers:
    state = replace(EMPTY, bid=18_750, ask=18_755)

    def sides(self, agent, count=3000, **terms) -> set[tuple[int, bool]]:
        """(side, whether it is a market order) of all that the agent does."""
        state, random = replace(self.state, **terms), Random(4)
        found = [intent for _ in range(count) for intent in agent.decide(state, random)]
        return {(intent.side, intent.price is None) for intent in found}

    @pytest.mark.parametrize(
        ("trend", "momentum", "reversion"),
        [
            (None, set(), set()),
            (0.0001, set(), set()),
            (0.002, {(BUY, True)}, {(SELL, False)}),
            (-0.002, {(SELL, True)}, {(BUY, False)}),
        ],
    )
    def test_one_follows_the_trend_and_the_other_stands_against_it(self, trend, momentum, reversion):
        assert self.sides(MomentumTrader(), trend=trend) == momentum
        assert self.sides(ReversionTrader(), trend=trend) == reversion

    def test_an_order_against_a_trend_that_is_over_is_taken_out(self):
        state = replace(self.state, trend=0.0, orders=(OpenOrder(3, SELL, 18_760, 5, 0),))
        assert ReversionTrader(activity=1).decide(state, Random(1)) == [CancelIntent(3)]

    def test_an_institution_trades_one_side_for_long(self):
        agent, random = Institution(per_hour=7200, pace=1), Random(2)
        assert agent.decide(self.state, random) == []
        pieces = [agent.decide(self.state, random) for _ in range(agent.least_pieces)]
        assert len({intent.side for (intent,) in pieces}) == 1

    @pytest.mark.parametrize("side", [BUY, SELL])
    def test_an_institution_under_pressure_does_nothing_else(self, side):
        assert self.sides(Institution(), count=20, pressure=side) == {(side, True)}
