"""Live margin for the sockets of `/ws/user/`: what each account's positions are worth at the marks of this moment.

    ← {"type": "margin", "asset": "USD", "equity": …, "used": …, "free": …, "level": …, "positions": [{…}]}

Unsequenced and conflated: these figures follow from the marks and are never resumed. An account with open positions
gets one message for each settlement asset, at most every PACE_SECONDS, only when something in it changed, and none
while its socket has not taken what was sent before. What fills change comes as sequenced `position` events besides; so
do `margin_call`, `margin_call_cleared`, `liquidation` and `financing`.

One statement a round serves all sockets of this process, however many there are.
"""

import asyncio
import logging
from contextlib import suppress
from weakref import WeakKeyDictionary

from django.db import DatabaseError, InterfaceError

from accounts.positions import side_of
from exchange import risk_reading
from exchange.margin_reading import level_text
from exchange.risk_reading import Open, Purse
from exchange.streams.account_feeds import AccountMember, account_feeds
from exchange.streams.outbox import Frame
from marketdata import marks, units
from marketdata.marks import StalePrice
from marketdata.refusals import Refusal
from marketdata.threads import in_thread

logger = logging.getLogger(__name__)

PACE_SECONDS = 0.25


class MarginFeed:
    """Tells this process's sockets; remembers what each was told last."""

    def __init__(self):
        self._told: WeakKeyDictionary[AccountMember, dict[str, dict]] = WeakKeyDictionary()

    async def run(self) -> None:
        """For ever, whatever fails."""
        while True:
            await asyncio.sleep(PACE_SECONDS)
            try:
                await self.tell()
            except (Refusal, DatabaseError, InterfaceError) as error:
                logger.warning("live margin pauses: %s", error)
            except Exception:
                logger.exception("telling live margin failed")

    async def tell(self) -> None:
        """One round."""
        if account_feeds.by_account:
            messages = await in_thread(messages_for, list(account_feeds.by_account))
            for account_id, of_account in messages.items():
                for member in account_feeds.by_account.get(account_id, ()):
                    self._tell(member, of_account)

    def _tell(self, member: AccountMember, messages: list[dict]) -> None:
        told = self._told.setdefault(member, {})
        if member.told < 0 or not member.outbox.is_idle:
            return
        for message in messages:
            if told.get(message["asset"]) != message and member.outbox.offer(Frame(message)):
                told[message["asset"]] = message


def messages_for(account_ids: list[int]) -> dict[int, list[dict]]:
    """What there is to tell these accounts; nothing for those without open positions, nor of purses of which no market
    tells what they are worth.
    """
    if not marks.latest():
        return {}
    found: dict[int, list[dict]] = {}
    for purse in risk_reading.purses(account_ids):
        with suppress(StalePrice):
            found.setdefault(purse.key.account_id, []).append(margin_message(purse))
    return found


def margin_message(purse: Purse) -> dict:
    contract, state = purse.open[0].spec.contract, purse.state()

    def text(amount: int) -> str:
        return units.text(amount, contract.settlement_decimals)

    return {
        "type": "margin",
        "asset": contract.settlement,
        "equity": text(state.equity),
        "used": text(state.used),
        "free": text(state.free),
        "maintenance": text(state.maintenance),
        "unrealized_pnl": text(state.unrealized),
        "level": level_text(state.level),
        "positions": [_position(one) for one in sorted(purse.open, key=lambda one: one.spec.symbol)],
    }


def _position(one: Open) -> dict:
    spec, mark = one.spec, marks.mark(one.spec.id)
    return {
        "symbol": spec.symbol,
        "side": side_of(one.net.quantity),
        "quantity": spec.quantity_text(one.net.quantity),
        "mark_price": None if mark is None else units.plain(mark.price),
        "unrealized_pnl": units.text(one.exposure().unrealized, spec.contract.settlement_decimals),
    }


margin_feed = MarginFeed()
