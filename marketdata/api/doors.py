"""Doors: what a route does, said once, entered by a DRF view (threads) or by the lean handler (the event loop).

A door has three steps. `prepare` turns the call into what the service takes (validation; may look a market up),
`perform` is the service itself in a plain and an async form, `answer` renders. The first and the last are the same
for both ways in, so both ways say the same.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from django.core.exceptions import SynchronousOnlyOperation
from rest_framework.response import Response
from rest_framework.views import APIView

from marketdata.threads import in_thread


@dataclass(frozen=True, slots=True)
class Call:
    """A request as a door sees it: who (accounts.authentication.Principal or None), body, query parameters, parts of
    the path.
    """

    principal: object
    body: object
    query: object
    arguments: dict
    request_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, payload (dicts, lists, strings), headers besides the usual ones."""

    status: int
    payload: object
    headers: dict[str, str] = field(default_factory=dict)


class _Lookups:
    """One look-up at a time for all coroutines of a loop: when the market cache has aged, a single one loads it anew.
    """

    def __init__(self):
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    def lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        lock = self._locks.get(loop)
        if lock is None:
            self._locks = {loop: asyncio.Lock()}
            lock = self._locks[loop]
        return lock


_lookups = _Lookups()


@dataclass(frozen=True, slots=True)
class Door:
    """See the module. `takes_body`: whether the request's body is read at all."""

    prepare: Callable[[Call], object]
    perform: Callable[[object], object]
    perform_async: Callable[[object], Awaitable]
    answer: Callable[[Call, object], Answer]
    takes_body: bool = True

    def enter(self, call: Call) -> Answer:
        """From a thread."""
        return self.answer(call, self.perform(self.prepare(call)))

    async def enter_async(self, call: Call) -> Answer:
        """From a coroutine: nothing here touches the ORM in the event loop."""
        try:
            prepared = self.prepare(call)
        except SynchronousOnlyOperation:  # a look-up that no cache answers
            prepared = await self._looked_up(call)
        return self.answer(call, await self.perform_async(prepared))

    async def _looked_up(self, call: Call):
        async with _lookups.lock():
            try:
                return self.prepare(call)
            except SynchronousOnlyOperation:
                return await in_thread(self.prepare, call)


class DoorView(APIView):
    """A DRF view whose methods are doors."""

    def through(self, door: Door, request, **arguments) -> Response:
        body = request.data if door.takes_body else None
        call = Call(request.auth, body, request.query_params, arguments, request._request.request_id)
        answer = door.enter(call)
        return Response(answer.payload, status=answer.status, headers=answer.headers)
