"""Local servers that speak the documented shapes of AllTick and Twelve Data, and misbehave on request.

Each listens on a free port of the loopback. `answers` and `refusals` are queues of what to say instead of the truth:
(HTTP status, body or text) to the next requests, HTTP statuses to the next handshakes.
"""

import asyncio
import json
from collections import deque
from datetime import datetime, timedelta

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from marketdata.providers.limits import Clock


class FakeServer:
    """REST and WebSocket on one port. Used as `async with`."""

    key = "the-secret-key"

    def __init__(self, clock: Clock):
        self.clock = clock
        self.answers: deque[tuple[int, object]] = deque()
        self.refusals: deque[int] = deque()
        self.requests: list[tuple[str, dict, datetime]] = []
        self.received: list[dict] = []
        self.connections = 0
        self.open_sockets = 0
        self.sent = 0
        self.answers_heartbeats = True
        self._socket: web.WebSocketResponse | None = None
        self._request: web.Request | None = None
        application = web.Application()
        self.add_routes(application.router)
        self._server = TestServer(application)

    async def __aenter__(self):
        await self._server.start_server(access_log=None)
        return self

    async def __aexit__(self, *exception):
        await self._server.close()

    @property
    def rest(self) -> str:
        return str(self._server.make_url("/")).rstrip("/")

    @property
    def ws(self) -> str:
        return self.rest.replace("http", "ws", 1)

    # REST

    def override(self, request: web.Request, parameters: dict) -> web.Response | None:
        """Note the request; the queued answer, if there is one."""
        self.requests.append((request.path, parameters, self.clock.now()))
        if not self.answers:
            return None
        status, body = self.answers.popleft()
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json")

    # WebSocket

    async def socket(self, request: web.Request) -> web.StreamResponse:
        if self.refusals:
            return web.json_response({"message": "no"}, status=self.refusals.popleft())
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._socket, self._request = socket, request
        self.connections += 1
        self.open_sockets += 1
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    content = json.loads(message.data)
                    self.received.append(content)
                    await self.on_message(content)
        finally:
            self.open_sockets -= 1
        return socket

    async def send(self, message) -> None:
        """An object as JSON, a text as it is, bytes as a binary message."""
        self.sent += 1
        if isinstance(message, bytes):
            await self._socket.send_bytes(message)
        else:
            await self._socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def close(self, code: int = 1011) -> None:
        await self._socket.close(code=code)

    async def break_off_within_a_frame(self) -> None:
        """A header that promises a thousand bytes, a few of them, and the end of the line."""
        self._request.transport.write(b'\x81\x7e\x03\xe8{"cmd_id":229')
        self._request.transport.close()
        await asyncio.sleep(0)


class FakeAllTick(FakeServer):
    """`prices`: code to (bid, ask) texts. Requests faster than the free plan are refused and counted."""

    seconds_per_endpoint = 10.0

    def __init__(self, clock: Clock, prices: dict[str, tuple[str, str]]):
        super().__init__(clock)
        self.prices = prices
        self.too_fast = 0
        self.next_ret = 200
        self.subscribed: dict[int, list[str]] = {}
        self.klines: list[dict] = []
        self._last: dict[str, datetime] = {}

    def add_routes(self, router) -> None:
        for family in ("stock-b", "b"):
            router.add_get(f"/quote-{family}-api/{{endpoint}}", self.rest_call)
            router.add_get(f"/quote-{family}-ws-api", self.socket)

    async def rest_call(self, request: web.Request) -> web.Response:
        if request.query.get("token") != self.key:
            return web.json_response({"msg": "token is required", "ret": 401}, status=401)
        query = json.loads(request.query["query"])
        data = query["data"]
        if (overriding := self.override(request, data)) is not None:
            return overriding
        if self._is_too_fast(request.path):
            return self._envelope(605, "too many requests", query)
        endpoint = request.match_info["endpoint"]
        if endpoint == "kline":
            return self._envelope(200, "ok", query, self._kline(data))
        codes = [row["code"] for row in data["symbol_list"]]
        is_stock_path = "stock" in request.path
        if any(code not in self.prices or code.endswith((".US", ".HK")) != is_stock_path for code in codes):
            return self._envelope(600, "code invalid", query)
        make = self.depth if endpoint == "depth-tick" else self.trade
        return self._envelope(200, "ok", query, {"tick_list": [make(code) for code in codes]})

    def _is_too_fast(self, path: str) -> bool:
        now, last = self.clock.now(), self._last.get(path)
        self._last[path] = now
        is_too_fast = last is not None and now - last < timedelta(seconds=self.seconds_per_endpoint)
        self.too_fast += is_too_fast
        return is_too_fast

    def _kline(self, data: dict) -> dict:
        until = data["kline_timestamp_end"] or 10**12
        rows = [row for row in self.klines if int(row["timestamp"]) <= until]
        rows = rows[-data["query_kline_num"] :]
        return {"code": data["code"], "kline_type": data["kline_type"], "kline_list": rows}

    def _envelope(self, ret: int, text: str, query: dict, data: dict | None = None) -> web.Response:
        return web.json_response({"ret": ret, "msg": text, "trace": query["trace"], "data": data or {}})

    def depth(self, code: str, *, bid: str | None = None, ask: str | None = None, at: datetime | None = None) -> dict:
        known = self.prices.get(code, ("1", "1"))
        levels = [[{"price": price, "volume": "1"}] for price in (bid or known[0], ask or known[1])]
        return {
            "code": code,
            "seq": "1",
            "tick_time": str(int((at or self.clock.now()).timestamp() * 1000)),
            "bids": levels[0],
            "asks": levels[1],
        }

    def trade(self, code: str) -> dict:
        return {
            "code": code,
            "seq": 1,
            "tick_time": int(self.clock.now().timestamp()),
            "price": self.prices[code][0],
            "volume": "10",
            "turnover": "1",
            "trade_direction": 1,
        }

    async def on_message(self, message: dict) -> None:
        command = message["cmd_id"]
        if command == 22000:
            if self.answers_heartbeats:
                await self.send(self._reply(message, 200))
            return
        self.subscribed[command] = [row["code"] for row in message["data"]["symbol_list"]]
        ret, self.next_ret = self.next_ret, 200
        await self.send(self._reply(message, ret))
        if ret == 606:
            await self.close(1008)

    def _reply(self, message: dict, ret: int) -> dict:
        return {**message, "cmd_id": message["cmd_id"] + 1, "ret": ret, "msg": "ok" if ret == 200 else "no", "data": {}}

    async def push(self, code: str, **changes) -> None:
        await self.send({"cmd_id": 22999, "data": self.depth(code, **changes)})


class FakeTwelveData(FakeServer):
    """`prices`: symbol to text. Credits as on the free plan; more than those are refused, with HTTP status 200."""

    per_minute = 8
    quote_age_seconds = 5

    def __init__(self, clock: Clock, prices: dict[str, str]):
        super().__init__(clock)
        self.prices = prices
        self.used: dict[datetime, int] = {}
        self.over_the_limit = 0
        self.values: list[dict] = []
        self.next_status = "ok"
        self.subscribed: list[str] = []

    def add_routes(self, router) -> None:
        router.add_get("/time_series", self.time_series)
        router.add_get("/quote", self.quote)
        router.add_get("/v1/quotes/price", self.socket)

    def _refusal(self, request: web.Request, credits: int) -> web.Response | None:
        if request.headers.get("Authorization") != f"apikey {self.key}":
            return web.json_response(error(401, "**apikey** parameter is incorrect or not specified."), status=401)
        if (overriding := self.override(request, dict(request.query))) is not None:
            return overriding
        minute = self.clock.now().replace(second=0, microsecond=0)
        self.used[minute] = self.used.get(minute, 0) + credits
        if self.used[minute] > self.per_minute:
            self.over_the_limit += 1
            return web.json_response(error(429, "You have run out of API credits for the current minute."))
        return None

    def _answer(self, request: web.Request, one) -> web.Response:
        symbols = request.query["symbol"].split(",")
        if (refusal := self._refusal(request, len(symbols))) is not None:
            return refusal
        bodies = {
            symbol: one(symbol)
            if symbol in self.prices
            else error(404, "**symbol** or **figi** parameter is missing or invalid.")
            for symbol in symbols
        }
        minute = self.clock.now().replace(second=0, microsecond=0)
        headers = {"api-credits-left": str(max(0, self.per_minute - self.used[minute]))}
        return web.json_response(bodies if len(symbols) > 1 else bodies[symbols[0]], headers=headers)

    async def quote(self, request: web.Request) -> web.Response:
        now = int(self.clock.now().timestamp())
        return self._answer(
            request,
            lambda symbol: {
                "symbol": symbol,
                "timestamp": now - 3600,
                "last_quote_at": now - self.quote_age_seconds,
                "close": self.prices[symbol],
                "is_market_open": True,
            },
        )

    async def time_series(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request, 1)) is not None:
            return refusal
        query = request.query
        rows = [
            row
            for row in self.values
            if query.get("start_date", "") <= row["datetime"] <= query.get("end_date", "9999")
        ]
        if not rows:
            return web.json_response(error(404, "No data is available on the specified dates."))
        rows = rows if query.get("order") == "asc" else rows[::-1]
        rows = rows[: int(query.get("outputsize", 5000))]
        return web.json_response({"meta": {"symbol": query["symbol"]}, "values": rows, "status": "ok"})

    async def on_message(self, message: dict) -> None:
        if message["action"] == "heartbeat":
            if self.answers_heartbeats:
                await self.send({"event": "heartbeat", "status": "ok"})
            return
        symbols = message["params"]["symbols"].split(",")
        status, self.next_status = self.next_status, "ok"
        self.subscribed = symbols
        rows = [{"symbol": symbol, "exchange": "NASDAQ"} for symbol in symbols]
        success, fails = (rows, []) if status == "ok" else ([], rows)
        await self.send({"event": "subscribe-status", "status": status, "success": success, "fails": fails})

    async def push(self, symbol: str, *, price: str | None = None, at: datetime | None = None, **more) -> None:
        """The price goes out as a JSON number, written exactly so."""
        seconds = (at or self.clock.now()).timestamp()
        head = json.dumps({"event": "price", "symbol": symbol, "timestamp": int(seconds), **more})
        await self.send(f'{head[:-1]}, "price": {price or self.prices[symbol]}}}')


def error(code: int, text: str) -> dict:
    return {"code": code, "message": text, "status": "error"}
