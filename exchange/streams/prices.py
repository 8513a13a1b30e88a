"""/ws/prices/: the prices of all markets on one socket, all at connect, then those that changed."""

from exchange.streams.price_feed import price_feed
from exchange.streams.sockets import BadMessage, StreamConsumer


class PricesConsumer(StreamConsumer):
    """Only listens; {"type": "snapshot"} asks for all prices again. See exchange.streams.price_feed."""

    kind = "prices"

    async def opened(self) -> None:
        await price_feed.join(self)

    async def received(self, message: dict) -> None:
        if message.get("type") != "snapshot":
            raise BadMessage('Send {"type": "snapshot"} or {"type": "ping"}.')
        await price_feed.join(self)

    def left(self) -> None:
        price_feed.leave(self)
