"""The simulated market: agents with accounts of their own that trade through the one door, so that a venue lives.

`reference` is the hidden price that they trade around, under its `weather`; `world` relates the markets; `agents`,
`makers` and `takers` decide (pure functions); `population` gives them accounts and money; `market` turns decisions
into commands, `runner` steps all markets; `leader` lets only one of several server processes do it. `scenario` and
`conductor` play bad days, `timekeeping` lets time fly offline. `facts`, `tape` and `report` measure what came out.
"""

from exchange.simulator.runner import Simulator

__all__ = ["Simulator"]
