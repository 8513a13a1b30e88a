"""Requests in, waits out."""

import random
from datetime import timedelta

import pytest

from marketdata.providers.limits import BackOff, MinuteCredits, SlidingWindows
from tests.providers.clocks import START, JumpingClock


async def test_sliding_windows_keep_every_rule_over_a_thousand_requests():
    clock, rules = JumpingClock(), [(1, 0.5), (10, 60.0), (100, 3600.0)]
    windows, made = SlidingWindows(rules, clock), []
    for _ in range(1000):
        await windows.spend()
        made.append(clock.now())
    for count, seconds in rules:
        pairs = zip(made, made[count:], strict=False)
        assert all(after - before >= timedelta(seconds=seconds) for before, after in pairs)
    # The rule of the hour decides, and costs not a second more than it must.
    assert made[-1] - made[0] < timedelta(hours=10)


async def test_a_clock_that_is_put_back_costs_one_window_at_most():
    clock = JumpingClock()
    windows = SlidingWindows([(1, 0.5), (3, 60.0)], clock)
    for _ in range(3):
        await windows.spend()
    clock.moment -= timedelta(hours=1)
    for _ in range(3):
        await windows.spend()
    assert clock.slept == [0.5, 0.5, 60.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("spent", "clock_reads"),
    [
        ([8], "14:00:00"),
        ([8, 1], "14:01:00"),
        ([5, 5, 5], "14:02:00"),
        ([1] * 17, "14:02:00"),
        ([20, 1], "14:01:00"),
    ],
)
async def test_credits_come_back_with_the_full_minute(spent, clock_reads):
    clock = JumpingClock()
    credits = MinuteCredits(per_minute=8, per_day=800, clock=clock)
    for amount in spent:
        await credits.spend(amount)
    assert clock.now().strftime("%H:%M:%S") == clock_reads


async def test_the_days_credits_come_back_at_midnight():
    clock = JumpingClock()
    credits = MinuteCredits(per_minute=8, per_day=20, clock=clock)
    for _ in range(5):
        await credits.spend(4)
    assert clock.now() - START == timedelta(minutes=2)
    await credits.spend(1)
    assert clock.now() == START.replace(hour=0) + timedelta(days=1)


async def test_the_providers_own_count_is_believed_when_stricter():
    clock = JumpingClock(START + timedelta(seconds=20))
    credits = MinuteCredits(per_minute=8, per_day=800, clock=clock)
    await credits.spend(1)
    credits.left_this_minute(7)
    assert credits.wait_seconds(7) == 0
    credits.left_this_minute(2)
    assert credits.wait_seconds(3) == 40
    assert credits.exhausted() == 40
    assert credits.wait_seconds(1) == 40


def test_pauses_double_up_to_the_longest_and_never_agree():
    back_off = BackOff(first_seconds=1, longest_seconds=60, random=random.Random(1))
    pauses = [back_off.next_seconds() for _ in range(12)]
    for index, pause in enumerate(pauses):
        full = min(60, 2**index)
        assert full / 2 <= pause <= full
    assert len(set(pauses)) == len(pauses)
    back_off.reset()
    assert back_off.next_seconds() <= 1
