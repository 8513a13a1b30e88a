"""The simulated market: agents with accounts of their own that trade through the one door, so that a demo lives.

`reference` is the price that they trade around, `agents` decide (pure functions), `population` gives them accounts
and money, `runner` turns decisions into commands, `leader` lets only one of several server processes do it.
"""

from exchange.simulator.runner import Simulator

__all__ = ["Simulator"]
