"""An account's events, told to each of its sockets strictly by sequence: the one after the last told, or none.

Events come through the hub, which may lose or swap them; the event table has them all. A socket that is behind
(a gap, a full outbox, a resume) reads the table page by page, as fast as its peer reads, until it has told
everything that is known to exist; only then live events are told directly again. So a slow reader costs no
memory, and no event is told twice or left out. Who asks for more than the table keeps (exchange.retention) gets a
snapshot instead, and the events after that.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

import orjson

from accounts import api_keys
from accounts.authentication import Principal
from exchange.streams import queries
from exchange.streams.outbox import Frame, Outbox, Reply
from marketdata.refusals import Refusal
from marketdata.threads import in_thread

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.25


class BadSequence(Refusal):
    """A resume after an event that does not exist."""

    code, status, title = "bad_sequence", 422, "No such sequence"


class AccountMember:
    """One socket's place in its account's events. `told` is the last sequence that it was sent."""

    def __init__(self, principal: Principal, outbox: Outbox, deactivated: Callable[[], None]):
        self.account_id, self.key_id, self.claim = principal.account_id, principal.key_id, principal.claim
        self.outbox, self.deactivated = outbox, deactivated
        self.told = -1
        self.known = -1
        self._reading: asyncio.Task | None = None

    # Beginning

    async def begin(self) -> None:
        """Snapshot, then the events after it. Call once, after joining the feeds."""
        await self._tell_snapshot()
        self.want(self.known)

    async def resume(self, after: int) -> None:
        """Go back (or on) to that sequence and tell everything above it; BadSequence when there is no such
        event.
        """
        heads = await in_thread(queries.account_heads, [self.account_id])
        sequence = max(heads[self.account_id][0], self.known)
        if after > sequence:
            raise BadSequence(f"The last event is {sequence}; resume after that or an earlier one.")
        self.outbox.reply(Reply({"type": "resumed", "after": after}))
        self.told, self.known = after, sequence
        self._read_if_behind()

    def leave(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    # Live

    def receive(self, events: list[tuple[int, dict]]) -> None:
        """(sequence, frame) pairs of one committed batch."""
        self.known = max(self.known, events[-1][0])
        if self.told < 0 or self._reading is not None:
            return
        self._tell(events)
        self._read_if_behind()

    def _tell(self, events: list[tuple[int, dict]]) -> None:
        """Those that connect, until the outbox is full."""
        for sequence, message in events:
            if sequence <= self.told:
                continue
            if sequence != self.told + 1 or not self.outbox.offer(message):
                return
            self.told = sequence

    # Behind

    def want(self, sequence: int) -> None:
        """Events up to this one exist; read them if they do not come soon."""
        self.known = max(self.known, sequence)
        if 0 <= self.told < self.known:
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._read_if_behind)

    def _read_if_behind(self) -> None:
        if self.told < self.known and self._reading is None and not self.outbox.is_ending:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._finished_reading)

    async def _read(self) -> None:
        while self.told < self.known and not self.outbox.is_ending:
            await self.outbox.drained()
            after = self.told
            events = await in_thread(queries.account_events, self.account_id, after)
            if after != self.told:
                continue  # a resume came in between
            if not events or events[0]["sequence"] != after + 1:
                logger.info("account %d: event %d is no longer kept; telling a snapshot", self.account_id, after + 1)
                await self._tell_snapshot()
            else:
                self._tell([(event["sequence"], Frame(event)) for event in events])

    def _finished_reading(self, task: asyncio.Task) -> None:
        self._reading = None
        if task.cancelled():
            return
        if error := task.exception():
            logger.warning("account %d: reading events failed (%r); trying again", self.account_id, error)
        else:
            self._read_if_behind()

    async def _tell_snapshot(self) -> None:
        snapshot = await in_thread(queries.account_snapshot, self.account_id)
        frame = Frame(snapshot)
        await self.outbox.drained()
        while not self.outbox.offer(frame):  # a reply was queued meanwhile
            if self.outbox.is_ending:
                return
            await self.outbox.drained()
        self.told = snapshot["sequence"]
        self.known = max(self.known, self.told)


class AccountFeeds:
    """The members of this process, by account id."""

    def __init__(self):
        self.by_account: dict[int, set[AccountMember]] = defaultdict(set)

    def join(self, member: AccountMember) -> None:
        self.by_account[member.account_id].add(member)

    def leave(self, member: AccountMember) -> None:
        member.leave()
        members = self.by_account.get(member.account_id, set())
        members.discard(member)
        if not members:
            self.by_account.pop(member.account_id, None)

    def receive(self, accounts: list[tuple[int, str]]) -> None:
        """What the hub heard: (account id, JSON text of numbered events) pairs."""
        for account_id, events in accounts:
            if members := self.by_account.get(account_id):
                framed = [(event["sequence"], Frame(event)) for event in orjson.loads(events)]
                for member in list(members):
                    member.receive(framed)

    async def check(self) -> None:
        """Compare every member with the database; end those whose user was deactivated, whose password was changed
        since their token was issued, or whose key was revoked.
        """
        if not self.by_account:
            return
        # Those who join from here on are new enough, and what is read now may be older than their password.
        members = [member for members in self.by_account.values() for member in members]
        heads = await in_thread(queries.account_heads, list(self.by_account))
        key_ids = {member.key_id for member in members if member.key_id is not None}
        dead = key_ids - (await in_thread(api_keys.alive, key_ids)) if key_ids else set()
        for member in members:
            if member not in self.by_account.get(member.account_id, ()):
                continue  # it left meanwhile
            sequence, is_active, claim = heads.get(member.account_id, (0, False, None))
            if is_active and member.key_id not in dead and member.claim in (None, claim):
                member.want(sequence)
            else:
                member.deactivated()


account_feeds = AccountFeeds()
