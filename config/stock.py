"""Django under ASGI, in threads that stay: each request runs from first to last in one of REQUEST_THREADS.

Django's own ASGI handler makes a thread for every request and hops between it and the loop for each middleware, so
that a request costs milliseconds and its database connection lives and dies with the thread. Here a request is one
hop, and a thread keeps its connection. The price: an answer is in memory before it is sent, and asynchronous views
would gain nothing. Only a streaming answer is sent as it is made, each part in whichever thread is free: what makes
it must keep nothing between two parts that belongs to a thread, no open query above all.
"""

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from marketdata.threads import Pool

REQUEST_THREADS = 12

requests = Pool(REQUEST_THREADS, "request")


class ThreadedHandler(ASGIHandler):
    """The ASGI application for HTTP requests that go the stock way."""

    def __init__(self):
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)

    async def __call__(self, scope, receive, send):
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            response, headers, content = await requests.run(self._respond, scope, body)
        finally:
            body.close()
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        if content is None:
            await _stream(response, send)
        else:
            await send({"type": "http.response.body", "body": content})

    def _respond(self, scope, body) -> tuple[HttpResponseBase, list[tuple[bytes, bytes]], bytes | None]:
        """The answer, its headers, and its body; None for a body that is still to be made."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, response = self.create_request(scope, body)
        if request is not None:
            response = self.get_response(request)
        content = None if response.streaming else response.content
        headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.items()]
        headers += [(b"Set-Cookie", cookie.output(header="").strip().encode()) for cookie in response.cookies.values()]
        if content is not None:
            response.close()
        return response, headers, content


async def _stream(response: StreamingHttpResponse, send) -> None:
    """Send a body part by part, each made when the one before has left."""
    parts = iter(response.streaming_content)
    try:
        while (part := await requests.run(next, parts, None)) is not None:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await requests.run(response.close)
