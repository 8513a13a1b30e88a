"""Keeping to what providers allow: sliding windows, credits a minute and a day, and pauses between attempts.

Everything takes its time from a `Clock`, so that tests pass an hour in a second. Limits are kept per process; the
feed runs in one process only, so they hold for the venue as long as nobody else uses the same key.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

from marketdata import clock as venue_clock


class Clock:
    """The venue's time and asyncio's sleep."""

    def now(self) -> datetime:
        return venue_clock.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait_for(self, awaitable: Awaitable, seconds: float):
        """TimeoutError when it takes longer. Not asyncio.wait_for, which can swallow a cancellation on Python 3.11."""
        async with asyncio.timeout(seconds):
            return await awaitable


class SlidingWindows:
    """At most `count` requests in any `seconds`, for several such rules at once."""

    def __init__(self, rules: list[tuple[int, float]], clock: Clock):
        self._rules = rules
        self._clock = clock
        self._made: deque[datetime] = deque()
        self._lock = asyncio.Lock()
        self._longest = max((seconds for _, seconds in rules), default=0.0)

    async def spend(self) -> None:
        """Wait until one more request keeps to every rule, and count it. In order of asking."""
        async with self._lock:
            while (wait := self.wait_seconds()) > 0:
                await self._clock.sleep(wait)
            self._made.append(self._clock.now())

    def wait_seconds(self) -> float:
        """How long until the next request may be made."""
        now = self._clock.now()
        if self._made and self._made[-1] > now:  # the clock was put back: how long ago that was is not known
            self._made = deque(min(made, now) for made in self._made)
        while self._made and (now - self._made[0]).total_seconds() >= self._longest:
            self._made.popleft()
        waits = [self._wait(now, count, seconds) for count, seconds in self._rules if len(self._made) >= count]
        return max(waits, default=0.0)

    def _wait(self, now: datetime, count: int, seconds: float) -> float:
        return seconds - (now - self._made[-count]).total_seconds()


class MinuteCredits:
    """Credits that come back with each full minute and each UTC day, as Twelve Data counts them."""

    def __init__(self, *, per_minute: int, per_day: int, clock: Clock):
        self.per_minute = per_minute
        self.per_day = per_day
        self._clock = clock
        self._minute = self._day = datetime.min.replace(tzinfo=UTC)
        self._used_minute = self._used_day = 0
        self._lock = asyncio.Lock()

    async def spend(self, credits: int) -> None:
        """Wait until that many credits are left, and take them. In order of asking.

        A request dearer than a whole minute waits for a full minute's credits and uses them up.
        """
        async with self._lock:
            while (wait := self.wait_seconds(credits)) > 0:
                await self._clock.sleep(wait)
            self._used_minute += credits
            self._used_day += credits

    def wait_seconds(self, credits: int) -> float:
        """How long until so many credits are to be had."""
        now = self._turn()
        if self._used_day and self._used_day + min(credits, self.per_day) > self.per_day:
            return (next_day(now) - now).total_seconds()
        if self._used_minute and self._used_minute + min(credits, self.per_minute) > self.per_minute:
            return (next_minute(now) - now).total_seconds()
        return 0.0

    def left_this_minute(self, count: int) -> None:
        """The provider's own count of what is left: believed when it is the stricter one."""
        self._turn()
        self._used_minute = max(self._used_minute, self.per_minute - count)

    def exhausted(self, *, day: bool = False) -> float:
        """The provider refused: nothing is left. How long to wait, in seconds."""
        now = self._turn()
        self._used_minute = max(self._used_minute, self.per_minute)
        if day:
            self._used_day = max(self._used_day, self.per_day)
        return ((next_day(now) if day else next_minute(now)) - now).total_seconds()

    def _turn(self) -> datetime:
        """Begin a new minute or day when the clock has."""
        now = self._clock.now()
        minute, day = now.replace(second=0, microsecond=0), now.replace(hour=0, minute=0, second=0, microsecond=0)
        if minute != self._minute:
            self._minute, self._used_minute = minute, 0
        if day != self._day:
            self._day, self._used_day = day, 0
        return now


def next_minute(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0) + timedelta(minutes=1)


def next_day(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


class BackOff:
    """Pauses that double up to a longest one, each shortened at random so that clients don't come back together."""

    def __init__(self, *, first_seconds: float = 1.0, longest_seconds: float = 60.0, random: random.Random):
        self.first_seconds = first_seconds
        self.longest_seconds = longest_seconds
        self._random = random
        self.failures = 0

    def next_seconds(self) -> float:
        """The pause after one more failure: between half of the doubled pause and all of it."""
        pause = min(self.longest_seconds, self.first_seconds * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return pause * (0.5 + self._random.random() / 2)

    def reset(self) -> None:
        self.failures = 0
