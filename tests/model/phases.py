"""Commands that only the model gives: they begin and end a market's call phase as its rules would, between two others.
"""

from exchange import interruption, sessions
from exchange.commands import Refresh
from exchange.payable import Unlocked
from exchange.phases import CONTINUOUS
from marketdata.calendar import Change


class Collect(Refresh):
    """Orders are collected from now on."""

    def apply(self, batch) -> dict:
        live = batch.books[self.market_id]
        if not live.collecting:
            interruption.pause(batch, live)
        return {}


class Uncross(Refresh):
    """The auction, if orders are being collected."""

    def apply(self, batch) -> dict:
        live = batch.books[self.market_id]
        concerned = set(live.open_orders)
        if not concerned <= batch.sheet.holders.keys():
            raise Unlocked(concerned)
        if live.collecting:
            sessions.change(batch, live, Change(batch.records.moment, CONTINUOUS))
        return {}
