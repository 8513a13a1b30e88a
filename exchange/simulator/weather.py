"""How lively a market is: its volatility, which comes in regimes, and its news, which come in clusters.

Log-volatility is the sum of two processes drawn back to nothing, one that forgets within a minute and one within the
better part of an hour, so that the size of moves is remembered far longer than their direction. News arrive as a
self-exciting process: each makes the next more likely for a while, and traders busier. Floats are right here: nothing
of this is money.
"""

from math import exp, sqrt
from random import Random

#: (seconds until a deviation is mostly forgotten, standing spread of the logarithm).
COMPONENTS = ((45.0, 0.5), (900.0, 0.6))
#: News an hour when nothing excites them, their typical size, and how long an excitement lasts.
NEWS_PER_HOUR, NEWS_SIZE = 4.0, 0.0006
EXCITEMENT_SECONDS = 90.0
#: Each piece of news brings this many more, on average: below 1, or they would never end.
OFFSPRING = 0.4
#: How much one piece of news adds to volatility and to traders' activity, at once.
NERVOUSNESS, BUSINESS = 0.6, 0.8
LEAST_ACTIVITY, MOST_ACTIVITY = 0.5, 3.0


class Weather:
    """One market's. Draws only from the `random` it was given."""

    def __init__(self, random: Random):
        self._random = random
        self._logs = [random.gauss(0, spread) for _, spread in COMPONENTS]
        self._excitement = 0.0

    def advance(self, seconds: float) -> float:
        """Let simulated time pass; the jump of the logarithm of the price that the news have made meanwhile."""
        for index, (memory, spread) in enumerate(COMPONENTS):
            kept = exp(-seconds / memory)
            noise = self._random.gauss(0, 1) * spread * sqrt(1 - kept * kept)
            self._logs[index] = self._logs[index] * kept + noise
        self._excitement *= exp(-seconds / EXCITEMENT_SECONDS)
        rate = NEWS_PER_HOUR / 3600 + self._excitement * OFFSPRING / EXCITEMENT_SECONDS
        if self._random.random() >= 1 - exp(-rate * seconds):
            return 0.0
        self.excite(1.0)
        return self._random.choice((-1, 1)) * NEWS_SIZE * self._random.lognormvariate(0, 0.6)

    def excite(self, news: float) -> None:
        """Make it as nervous as so many pieces of news would."""
        self._excitement = min(5.0, self._excitement + news)

    @property
    def volatility(self) -> float:
        """Times the ordinary one. Around 1 in quiet times, never below a fifth."""
        spread = sum(spread * spread for _, spread in COMPONENTS)
        regime = exp(sum(self._logs) - spread / 2)
        return min(6.0, max(0.2, regime * (1 + NERVOUSNESS * self._excitement)))

    @property
    def activity(self) -> float:
        """Times the ordinary number of orders: busier when prices move."""
        busy = 0.5 + 0.5 * sqrt(self.volatility) + BUSINESS * min(1.0, self._excitement)
        return min(MOST_ACTIVITY, max(LEAST_ACTIVITY, busy))
