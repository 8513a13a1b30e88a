"""Live margin for the sockets of `/ws/user/`: what each account's positions are worth at the marks of this moment.

    ← {"type": "margin", "asset": "USD", "equity": …, "used": …, "free": …, "level": …, "positions": [{…}]}

Unsequenced and conflated: these figures follow from the marks and are never resumed. An account with open positions
gets one message for each settlement asset, at most every PACE_SECONDS, only when something in it changed, and none
while its socket has not taken what was sent before; where the last position is closed one more, without any. What
fills change comes as sequenced `position` events besides; so do `margin_call`, `margin_call_cleared`, `liquidation`
and `financing`.

One statement a round serves all sockets of this process, however many there are.
"""

import asyncio
import logging
from contextlib import suppress
from weakref import WeakKeyDictionary

from django.db import DatabaseError, InterfaceError

from accounts.margin import State
from accounts.models import Position
from accounts.positions import side_of
from exchange import margin_reading, risk_reading
from exchange.margin_reading import level_text
from exchange.risk_reading import Open, Purse
from exchange.streams.account_feeds import AccountMember, account_feeds
from exchange.streams.outbox import Frame
from marketdata import marks, units
from marketdata.marks import StalePrice
from marketdata.refusals import Refusal, UnreadableMarket
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
            await self._tell_ends(messages)

    async def _tell_ends(self, messages: dict[int, list[dict]]) -> None:
        """Purses of which these members were told something, and now are not: that nothing is open there any more."""
        gone: dict[AccountMember, set[str]] = {}
        for member, told in self._told.items():
            now = {message["asset"] for message in messages.get(member.account_id, ())}
            if told.keys() - now and member in account_feeds.by_account.get(member.account_id, ()):
                gone[member] = told.keys() - now
        if not gone:
            return
        ends = await in_thread(last_messages, {(m.account_id, asset) for m, assets in gone.items() for asset in assets})
        for member, assets in gone.items():
            for asset in assets & ends.get(member.account_id, {}).keys():
                if self._tell(member, [ends[member.account_id][asset]]):
                    self._told[member].pop(asset)

    def _tell(self, member: AccountMember, messages: list[dict]) -> bool:
        """Whether it was free to hear them."""
        told = self._told.setdefault(member, {})
        if member.told < 0 or not member.outbox.is_idle:
            return False
        for message in messages:
            if told.get(message["asset"]) != message and member.outbox.offer(Frame(message)):
                told[message["asset"]] = message
        return True


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


def last_messages(purses: set[tuple[int, str]]) -> dict[int, dict[str, dict]]:
    """By account and asset, for those of these purses that have no open position any more: how they stand without."""
    rows = Position.objects.filter(account__in={account for account, _ in purses}, closed_at__isnull=True)
    ended = purses - set(rows.values_list("account", "market__contract__settlement__symbol"))
    found: dict[int, dict[str, dict]] = {}
    for account_id in {account for account, _ in ended}:
        with suppress(UnreadableMarket), margin_reading.snapshot():
            account = margin_reading.read(account_id)
            found[account_id] = {
                scale.symbol: _message(scale.symbol, scale.decimals, account.state(asset), [])
                for asset, scale in account.scales.items()
                if (account_id, scale.symbol) in ended and not account.open(asset)
            }
    return found


def margin_message(purse: Purse) -> dict:
    contract = purse.open[0].spec.contract
    return _message(contract.settlement, contract.settlement_decimals, purse.state(), purse.open)


def _message(asset: str, decimals: int, state: State, positions: list[Open]) -> dict:
    def text(amount: int) -> str:
        return units.text(amount, decimals)

    return {
        "type": "margin",
        "asset": asset,
        "equity": text(state.equity),
        "used": text(state.used),
        "free": text(state.free),
        "maintenance": text(state.maintenance),
        "unrealized_pnl": text(state.unrealized),
        "level": level_text(state.level),
        "positions": [_position(one) for one in sorted(positions, key=lambda one: one.spec.symbol)],
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
