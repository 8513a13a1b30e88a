"""The private socket: who authenticates gets a snapshot of the account, then every event by sequence, and may
trade here.

    → {"type": "authenticate", "token": "…"}                ← {"type": "snapshot", "sequence": n, "orders": […], …}
    → {"type": "authenticate", "key": "…", "timestamp": ms, "sign": "…"}       ← the same for an API key that may READ
    → {"type": "resume", "after": n}                        ← {"type": "resumed", "after": n}, then every event above n
                                                              (a snapshot first, where they are no longer kept)
    → {"type": "place", "id": 1, "symbol": …, "side": …}    ← {"type": "result", "id": 1, "status": 201, "order": {…}}
    → {"type": "amend", "id": 2, "order_id": …, "price": …} ← {"type": "result", "id": 2, "status": 422, "error": {…}}
    → {"type": "cancel", "id": 3, "order_id": …}

An order's own type goes by the name order_type here: {"type": "place", "order_type": "MARKET", …}.
Orders, amendments and cancellations go through the same definitions and the same door as over REST, in the
order they came (with several server processes, those for one market); up to MAX_IN_FLIGHT of them wait for their
commit at the same time, and results come as they are ready. They count for the user's rate limit, or the key's.
`account` in the authenticate message names another of the user's own accounts, as X-Account does. A key signs
timestamp + "GET/ws/user/". A socket outlives its token's time, but neither its user nor the password that its token
was issued for, nor its key: once that is deactivated, changed or revoked, it is closed with 4401 within about a second.

Events are `order`, `fill`, `balance`, `position`, `margin_call`, `margin_call_cleared`, `liquidation` and `financing`.
What a waiting order follows by itself is no event: each step of a trailing stop, and that a stop was reached where the
market takes no orders now; the event of what comes of it tells both. Who has margin positions hears `margin` besides:
live values, without a sequence (see exchange.streams.margin_feed).

    → {"type": "cancel_on_disconnect", "on": true}          ← {"type": "cancel_on_disconnect", "on": true}

Once that is on (it needs TRADE), all open orders of the account are cancelled when this socket ends, whatever the
reason, but for those in halted markets. While the database is away that is tried for a minute; what was placed through
others since then stays. Known limit: a server that is killed cancels nothing.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress

from django.core.exceptions import SynchronousOnlyOperation

from accounts.api_keys import Signed
from accounts.authentication import (
    READ,
    TRADE,
    NotAuthenticated,
    Principal,
    TokenInvalid,
    bearer_token,
    choose_account,
    principal_for_token,
)
from accounts.callers import principal_for_signed
from exchange import orders
from exchange.api.doors import amend_command, known_id, place_command
from exchange.streams import last_wishes
from exchange.streams.account_feeds import AccountMember, account_feeds
from exchange.streams.outbox import TRY_AGAIN_LATER
from exchange.streams.sockets import NOT_AUTHENTICATED, BadMessage, StreamConsumer, header, name_of
from marketdata import markets
from marketdata.api.problems import problem_of
from marketdata.refusals import Refusal
from marketdata.threads import in_thread
from marketdata.throttling import charge_request

AUTHENTICATE_SECONDS = 10.0
MAX_IN_FLIGHT = 64
MAX_TOKEN_CHARACTERS = 4096
SIGNED_TARGET = b"GET/ws/user/"
COMMANDS = frozenset({"place", "amend", "cancel"})


class UserConsumer(StreamConsumer):
    """One socket of one account."""

    kind = "user"
    messages_per_second = 500

    def __init__(self):
        self.principal: Principal | None = None
        self.member: AccountMember | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._commands: set[asyncio.Task] = set()
        self._cancels_on_disconnect = False

    async def opened(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(AUTHENTICATE_SECONDS, self._is_late)
        authorization = header(self.scope, b"authorization")
        if authorization is not None:
            chosen = header(self.scope, b"x-account")
            await self._authenticate(lambda: _by_token(bearer_token(authorization) or "", chosen))

    def left(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self.member is not None:
            account_feeds.leave(self.member)
        if self._cancels_on_disconnect:
            last_wishes.cancel_all(self.principal.account_id, self._commands)

    async def received(self, message: dict) -> None:
        kind = message.get("type")
        if kind == "authenticate":
            if self.principal is not None:
                raise BadMessage("This socket is authenticated already.")
            return await self._authenticate(lambda: _principal(message, self.address))
        if self.principal is None:
            raise NotAuthenticated('First send {"type": "authenticate", "token": "<access>"}.')
        if kind == "resume":
            return await self.member.resume(_after(message))
        if kind == "cancel_on_disconnect":
            return self._take_last_wish(message)
        if not isinstance(kind, str) or kind not in COMMANDS:
            raise BadMessage("Send authenticate, resume, place, amend, cancel, cancel_on_disconnect or ping.")
        await self._command(kind, message)

    # Who it is

    async def _authenticate(self, principal_of: Callable[[], Principal]) -> None:
        try:
            principal = await in_thread(principal_of)
            principal.require(READ)
        except Refusal as refusal:
            return self.fail(refusal, NOT_AUTHENTICATED)
        self._deadline.cancel()
        self.principal = principal
        self.member = AccountMember(principal, self.outbox, self._deactivated)
        account_feeds.join(self.member)
        try:
            await self.member.begin()
        except Refusal as refusal:  # as of who holds a position in a market whose figures make no sense
            self.fail(refusal, TRY_AGAIN_LATER)

    def _is_late(self) -> None:
        self.fail(NotAuthenticated(f"Authenticate within {AUTHENTICATE_SECONDS:.0f} seconds."), NOT_AUTHENTICATED)

    def _deactivated(self) -> None:
        detail = "The user cannot log in any more or has a new password, or the API key was revoked."
        self.fail(TokenInvalid(detail), NOT_AUTHENTICATED)

    def _take_last_wish(self, message: dict) -> None:
        self.principal.require(TRADE)
        on = message.get("on")
        if type(on) is not bool:
            raise BadMessage("on is true or false.")
        self._cancels_on_disconnect = on
        self.tell({"type": "cancel_on_disconnect", "on": on})

    # Trading

    async def _command(self, kind: str, message: dict) -> None:
        """Check and submit; the result follows when it is committed. Later messages wait only when too many are
        on their way.
        """
        name = name_of(message)
        terms = {key: value for key, value in message.items() if key not in ("type", "id")}
        try:
            charge = charge_request(self.principal.limited_as, self.address)
            if charge is not None:
                charge.check()
            self.principal.require(TRADE)
            work = await getattr(self, f"_{kind}")(terms)
        except Exception as error:
            return self.tell(_refused(name, error))
        while len(self._commands) >= MAX_IN_FLIGHT:
            await asyncio.wait(self._commands, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(self._answer(name, work))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _answer(self, name: object, work: Coroutine) -> None:
        try:
            self.tell({"type": "result", "id": name, **await work})
        except Exception as error:
            self.tell(_refused(name, error))

    async def _place(self, terms: dict) -> Coroutine:
        account_id, symbol = self.principal.account_id, terms.get("symbol")
        if "order_type" in terms:
            terms["type"] = terms.pop("order_type")
        if isinstance(symbol, str) and markets.cached(symbol) is not None:
            with suppress(SynchronousOnlyOperation):  # refused; only the database knows whether it was placed before
                return _placed(place_command(account_id, terms))
        return _placed(await in_thread(place_command, account_id, terms))

    async def _amend(self, terms: dict) -> Coroutine:
        order_id = _order_id(terms)
        return _changed(orders.amend_async(**amend_command(self.principal.account_id, order_id, terms)))

    async def _cancel(self, terms: dict) -> Coroutine:
        order_id = known_id(_order_id(terms))
        if terms:
            raise BadMessage("cancel takes an order_id and nothing else.")
        return _changed(orders.cancel_async(account_id=self.principal.account_id, order_id=order_id))


async def _placed(command) -> dict:
    placed = await orders.place_async(command)
    return {"status": 200 if placed.replayed else 201, "replayed": placed.replayed, "order": placed.order}


async def _changed(work: Coroutine) -> dict:
    return {"status": 200, "order": await work}


def _refused(name: object, error: Exception) -> dict:
    problem = problem_of(error, uuid.uuid4().hex)
    return {"type": "result", "id": name, "status": problem.status, "error": problem.body}


def _principal(message: dict, address: str) -> Principal:
    """Who an authenticate message is from. May query."""
    chosen = message.get("account")
    if chosen is not None and type(chosen) is not int:
        raise BadMessage("account is the id of one of your accounts.")
    chosen = None if chosen is None else str(chosen)
    if "key" not in message:
        return _by_token(_token(message), chosen)
    words = [message.get(name) for name in ("key", "timestamp", "sign", "recv_window")]
    if not all(type(word) in (str, int) or word is None for word in words):
        raise BadMessage("key and sign are texts, timestamp and recv_window milliseconds.")
    key, timestamp, sign, window = (None if word is None else str(word) for word in words)
    signed = Signed(key or "", timestamp or "", sign or "", window, SIGNED_TARGET)
    return choose_account(principal_for_signed(signed, address), chosen)


def _by_token(token: str, chosen: str | None) -> Principal:
    return choose_account(principal_for_token(token), chosen)


def _token(message: dict) -> str:
    token = message.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARACTERS or not token.isascii():
        raise TokenInvalid("Send the access token as text.")
    return token.strip().removeprefix("Bearer ")


def _after(message: dict) -> int:
    after = message.get("after")
    if type(after) is not int or not 0 <= after < 2**63:
        raise BadMessage("after is the sequence of the last event you have, 0 for none.")
    return after


def _order_id(terms: dict) -> int:
    order_id = terms.pop("order_id", None)
    if type(order_id) is not int:
        raise BadMessage("order_id is a whole number.")
    return order_id
