"""Clocks for tests: one that is moved by hand, one that jumps whenever somebody sleeps."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

from marketdata.providers.limits import Clock

START = datetime(2026, 8, 6, 14, 0, 0, tzinfo=UTC)


class JumpingClock(Clock):
    """Every sleep is over at once, and time has passed. For code that has one thing to do at a time."""

    def __init__(self, start: datetime = START):
        self.moment = start
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class ManualClock(Clock):
    """Time stands still until `advance`; who sleeps wakes in order."""

    def __init__(self, start: datetime = START):
        self.moment = start
        self._sleepers: list[tuple[datetime, int, asyncio.Future]] = []
        self._count = 0

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.moment + timedelta(seconds=seconds), self._count, woken))
        await woken

    async def wait_for(self, awaitable, seconds: float):
        work, alarm = asyncio.ensure_future(awaitable), asyncio.ensure_future(self.sleep(seconds))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise TimeoutError
        finally:
            work.cancel()
            alarm.cancel()
            await asyncio.gather(work, alarm, return_exceptions=True)

    async def advance(self, seconds: float) -> None:
        """Let so much time pass, waking sleepers when it is their time."""
        goal = self.moment + timedelta(seconds=seconds)
        await self._let_others_run()
        while self._sleepers and self._sleepers[0][0] <= goal:
            due, _, woken = heapq.heappop(self._sleepers)
            self.moment = max(self.moment, due)
            if not woken.done():
                woken.set_result(None)
                await self._let_others_run()
        self.moment = goal
        await self._let_others_run()

    async def _let_others_run(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)
