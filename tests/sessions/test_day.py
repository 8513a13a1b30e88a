"""A whole day by the clock: pre-open, opening auction, trading, halt, volatility auction, closing auction, expiry,
settlement; the audit is clean and the replay the same at each step.
"""

from decimal import Decimal

import pytest

from exchange import clockwork
from exchange.commands import MarketClosed
from exchange.models import BookCommand, Settlement, Trade
from exchange.sequencer import sequencer
from marketdata import clock, markets
from marketdata.models import Holiday, Market, TradingCalendar


@pytest.fixture
def exchange_day(day):
    """AAPL on Monday 2026-11-23 in New York, which is five hours behind; Thursday is a holiday, Friday closes early."""
    day.sessions(holidays={"2026-11-26": None, "2026-11-27": "13:00"})
    day.at("2026-11-23 13:00")
    return day


def prices(day) -> list[str]:
    return [f"{trade.quantity.normalize():f}@{trade.price.normalize():f}" for trade in Trade.objects.order_by("id")]


def test_a_day(exchange_day):
    day, venue = exchange_day, exchange_day.venue
    venue.change("AAPL", settlement_days=1, volatility_band=Decimal("0.02"), reference_price=Decimal(100))

    assert day.phase() == "CLOSED"
    assert day.refused("ann BUY 1 AAPL @ 100") == "market_closed"
    day.check()

    day.at("2026-11-23 14:00")
    assert day.phase() == "PRE_OPEN"
    day_order = venue.order("ann BUY 30 AAPL @ 101 DAY")
    venue.order("cid BUY 20 AAPL @ 100")
    venue.order("bob SELL 40 AAPL @ 99")
    only = venue.order("bob SELL 5 AAPL @ 103 AUC")
    assert (Trade.objects.count(), venue.book()) == (0, "30@101 20@100 | 40@99 5@103")
    assert day.refused("cid SELL 1 AAPL MARKET") == "auction_phase"
    assert day.refused("ann SELL 1 AAPL @ 101") == "self_trade"
    day.check()

    day.at("2026-11-23 14:30")
    assert (day.phase(), prices(day)) == ("CONTINUOUS", ["30@100", "10@100"])
    assert (day.status(day_order), day.status(only)) == ("FILLED 30/30", "EXPIRED 0/5")
    assert venue.stored(only)["reason"] == "auction_ended"
    assert day.refused("bob SELL 5 AAPL @ 103 AUC") == "auction_only"
    day.check()

    venue.change("AAPL", status="HALTED")
    assert day.refused("bob SELL 5 AAPL @ 100") == "market_halted"
    day.at("2026-11-23 14:40")
    venue.change("AAPL", status="OPEN")
    day.check()

    venue.order("bob SELL 10 AAPL @ 101")
    venue.order("bob SELL 10 AAPL @ 104")
    jump = venue.order("ann BUY 15 AAPL @ 104 DAY")
    assert (day.phase(), day.status(jump)) == ("AUCTION", "OPEN 0/15")
    day.at("2026-11-23 14:42")
    # 15 trade at 104, 10 at 101 to 103: most trades at 104, the ask surplus of 5 does not matter.
    assert (day.phase(), day.status(jump), prices(day)[2:]) == ("CONTINUOUS", "FILLED 15/15", ["10@104", "5@104"])
    day.check()

    day.at("2026-11-23 20:50")
    assert day.phase() == "CLOSING"
    last = venue.order("ann BUY 8 AAPL @ 104 DAY")
    rest = venue.order("cid BUY 1 AAPL @ 95 DAY")
    stays = venue.order("cid BUY 1 AAPL @ 94")
    day.at("2026-11-23 21:00")
    assert day.phase() == "CLOSED"
    assert [day.status(order) for order in (last, rest, stays)] == ["EXPIRED 5/8", "EXPIRED 0/1", "OPEN 0/1"]
    assert prices(day)[-1] == "5@104"
    assert venue.cancel("cid", stays)["status"] == "CANCELLED"
    day.check()

    assert Settlement.objects.filter(settled_at=None).count() == Trade.objects.count() == 5
    day.at("2026-11-24 21:00")
    assert not Settlement.objects.filter(settled_at=None).exists()
    assert venue.funds("bob", "AAPL") == "9940+0"


def test_a_venue_that_was_down_over_close_and_open_catches_up_before_anything_new(exchange_day):
    day, venue = exchange_day, exchange_day.venue
    day.at("2026-11-23 20:00")
    stale = venue.order("ann BUY 10 AAPL @ 100 DAY")
    rest = venue.order("ann BUY 5 AAPL @ 99")
    sequencer.stop()
    day.at("2026-11-24 15:00", look=False)
    # Nobody noticed that the day had ended; the first command of the next one does.
    assert venue.order("bob SELL 7 AAPL @ 98")["filled_quantity"] == "5"
    assert (day.status(stale), day.status(rest)) == ("EXPIRED 0/10", "FILLED 5/5")
    kinds = BookCommand.objects.order_by("sequence").values_list("kind", "command__phase")
    phases = [phase for kind, phase in kinds if kind == "PHASE"]
    assert phases == ["CLOSED", *2 * ["PRE_OPEN", "CONTINUOUS", "CLOSING", "CLOSED"]][:7]
    assert clockwork.due_markets(day.moment("2026-11-24 15:00")) == set()


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize(
    ("status", "meanwhile", "then"),
    [
        ("CANCEL_ONLY", "EXPIRED 0/9", "EXPIRED 2/3"),
        ("CLOSED", "EXPIRED 0/9", "EXPIRED 2/3"),
        ("HALTED", "OPEN 0/9", "FILLED 3/3"),
    ],
)
def test_an_auction_waits_for_the_operators(exchange_day, status, meanwhile, then, forgets):
    day, venue = exchange_day, exchange_day.venue
    day.at("2026-11-23 14:00")
    bid = venue.order("ann BUY 2 AAPL @ 101")
    ask = venue.order("bob SELL 3 AAPL @ 99 AUC")
    other = venue.order("cid BUY 1 AAPL @ 101")
    ends = venue.order("cid BUY 9 AAPL @ 98 GTD", expires_at=day.moment("2026-11-23 14:45"))
    venue.change("AAPL", status=status)
    if forgets:
        sequencer.registry.forget()
    for moment in ("2026-11-23 14:30", "2026-11-23 15:30", "2026-11-23 15:31"):
        day.at(moment)
        assert (day.phase(), day.status(bid), day.status(ask)) == ("PRE_OPEN", "OPEN 0/2", "OPEN 0/3")
    assert day.status(ends) == meanwhile
    if status != "HALTED":
        assert venue.cancel("cid", other)["status"] == "CANCELLED"
    day.check()
    venue.change("AAPL", status="OPEN")
    day.at("2026-11-23 15:32")
    assert (day.phase(), day.status(bid), day.status(ends)) == ("CONTINUOUS", "FILLED 2/2", "EXPIRED 0/9")
    assert day.status(ask) == then


def test_another_process_follows_the_session_by_the_journal(exchange_day):
    """The live book of this process is thrown away in the midst of a call phase; what it loads collects as well."""
    day, venue = exchange_day, exchange_day.venue
    day.at("2026-11-23 14:10")
    venue.order("ann BUY 10 AAPL @ 101")
    venue.order("bob SELL 10 AAPL @ 99")
    sequencer.stop()
    venue.order("cid SELL 10 AAPL @ 98")
    assert venue.book() == "10@101 | 10@98 10@99"
    day.at("2026-11-23 14:30")
    assert prices(day) == ["10@98"]


def test_an_order_in_a_call_phase_may_be_amended_and_cancelled(exchange_day):
    day, venue = exchange_day, exchange_day.venue
    day.at("2026-11-23 14:10")
    first = venue.order("ann BUY 10 AAPL @ 99")
    venue.order("bob SELL 10 AAPL @ 100")
    assert venue.amend("ann", first, price=101)["status"] == "OPEN"
    assert venue.book() == "10@101 | 10@100"
    assert venue.amend("ann", first, quantity=4)["remaining_quantity"] == "4"
    venue.cancel("ann", first)
    day.at("2026-11-23 14:30")
    assert (prices(day), venue.book()) == ([], "| 10@100")


@pytest.mark.parametrize(
    ("kind", "terms"),
    [
        ("STOP_LOSS", {"stop_price": 103}),
        ("STOP_LIMIT", {"stop_price": 103, "price": 104}),
        ("TAKE_PROFIT", {"stop_price": 97}),
        ("TAKE_PROFIT_LIMIT", {"stop_price": 97, "price": 98}),
        ("TRAILING_STOP", {"trail_amount": 2}),
    ],
)
def test_an_order_for_one_auction_has_no_trigger_that_may_come_after_it(exchange_day, kind, terms):
    day = exchange_day
    day.venue.change("AAPL", reference_price=Decimal(100))
    day.at("2026-11-23 14:10")
    terms = {name: Decimal(value) for name, value in terms.items()}
    assert day.refused("ann BUY 1 AAPL AUC", type=kind, **terms) == "invalid"
    assert day.venue.order("ann BUY 1 AAPL", type=kind, **terms)["status"] == "PENDING"


def test_without_a_calendar_again_it_trades_around_the_clock(exchange_day):
    day, venue = exchange_day, exchange_day.venue
    day.at("2026-11-23 14:10")
    venue.order("ann BUY 10 AAPL @ 101")
    venue.order("bob SELL 10 AAPL @ 99")
    venue.change("AAPL", calendar=None)
    day.at("2026-11-23 14:11")
    assert (day.phase(), len(prices(day))) == ("CONTINUOUS", 1)


@pytest.mark.parametrize("has_calendar", [True, False])
def test_what_a_clock_that_was_hours_fast_has_begun_an_operator_ends(day, has_calendar):
    """By taking the calendar away, or giving one, and undoing that."""
    day.at("2026-11-23 15:00")
    own = day.sessions() if has_calendar else None
    other = None if has_calendar else day.sessions(symbol="BTC_USDT")
    day.venue.order("bob SELL 1 AAPL @ 100")
    day.venue.order("ann BUY 1 AAPL @ 100")
    day.at("2026-11-23 21:00")
    if not has_calendar:
        day.venue.change("AAPL", volatility_band=Decimal("0.01"), price_band=None)
        day.venue.order("bob SELL 1 AAPL @ 110")
        day.venue.order("ann BUY 1 AAPL @ 110")
    ahead = day.phase()
    day.at("2026-11-23 15:01")
    assert day.phase() == ahead == ("CLOSED" if has_calendar else "AUCTION")
    day.venue.change("AAPL", calendar=other)
    day.at("2026-11-23 15:02")
    day.venue.change("AAPL", calendar=own)
    day.at("2026-11-23 15:03")
    assert day.phase() == "CONTINUOUS"
    day.check()


def test_an_early_close_that_is_decided_during_the_session(exchange_day):
    day, venue = exchange_day, exchange_day.venue
    day.at("2026-11-23 15:00")
    order = venue.order("ann BUY 10 AAPL @ 99")
    calendar = TradingCalendar.objects.get()
    Holiday.objects.create(calendar=calendar, day="2026-11-23", closes_early="12:00")
    day.at("2026-11-23 16:50")
    assert day.phase() == "CLOSING"
    day.at("2026-11-23 17:00")
    assert (day.phase(), day.status(order)) == ("CLOSED", "OPEN 0/10")


def test_a_closed_market_takes_no_amendment(exchange_day):
    day, venue = exchange_day, exchange_day.venue
    day.at("2026-11-23 14:10")
    order = venue.order("ann BUY 10 AAPL @ 99")
    day.at("2026-11-23 22:00")
    with pytest.raises(MarketClosed):
        venue.amend("ann", order, quantity=4)


def holiday(calendar: TradingCalendar, **terms) -> None:
    Holiday.objects.create(calendar=calendar, day="2026-11-23", **terms)


def without_holidays(calendar: TradingCalendar) -> None:
    for row in calendar.holidays.all():
        row.delete()


def without_hours(calendar: TradingCalendar) -> None:
    calendar.hours.all().delete()
    calendar.changed()


def in_zone(calendar: TradingCalendar, name: str) -> None:
    calendar.time_zone = name
    calendar.save()


EDITS = [
    # the early close of the day, where the clock stands, the phase; the edit; the phase then, and the next change
    (None, "15:00", "CONTINUOUS", holiday, "CLOSED", "11-24 14:00"),
    (None, "14:10", "PRE_OPEN", holiday, "CLOSED", "11-24 14:00"),
    (None, "15:00", "CONTINUOUS", lambda calendar: holiday(calendar, closes_early="09:45"), "CLOSED", "11-24 14:00"),
    ("13:00", "19:00", "CLOSED", without_holidays, "CONTINUOUS", "11-23 20:50"),
    (None, "15:00", "CONTINUOUS", lambda calendar: in_zone(calendar, "Asia/Tokyo"), "CLOSED", "11-24 00:00"),
    (None, "15:00", "CONTINUOUS", lambda calendar: in_zone(calendar, "UTC"), "CONTINUOUS", "11-23 15:50"),
    (None, "15:00", "CONTINUOUS", without_hours, "CLOSED", None),
]


@pytest.mark.parametrize(("early", "time", "before", "edit", "after", "then"), EDITS)
def test_a_calendar_that_is_edited_while_its_day_is_on(day, early, time, before, edit, after, then):
    """At once: it was the next session's first phase, so that a market stayed open over a holiday and its night."""
    calendar = day.sessions(holidays={"2026-11-23": early} if early else {})
    for moment in ("13:00", "14:00", "14:30", time):
        if moment <= time:
            day.at(f"2026-11-23 {moment}")
    assert day.phase() == before
    edit(calendar)
    clockwork.look()
    assert day.phase() == after
    markets.forget()
    change = markets.by_symbol("AAPL").rules.calendar.next_change(clock.now())
    assert (change and f"{change.at:%m-%d %H:%M}") == then
    day.check()
    assert clockwork.look() == 0


def test_an_edited_calendar_holds_in_each_market_that_follows_it(day):
    """Whatever the markets' versions: one came to the version that the other had before the edit, and kept its hours.
    """
    calendar = day.sessions()
    day.venue.change("BTC_USDT", calendar=calendar)
    day.venue.change("BTC_USDT", max_open_orders=9)
    assert abs(int.__sub__(*Market.objects.values_list("version", flat=True))) == 1

    def known() -> set[int]:
        return {len(markets.load_spec(market.pk).rules.calendar.exceptions) for market in Market.objects.all()}

    assert known() == {0}
    holiday(calendar)
    assert known() == {1}
