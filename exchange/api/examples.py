"""Examples of the OpenAPI document."""

from drf_spectacular.utils import OpenApiExample

_ORDER = {"symbol": "AAPL", "side": "BUY", "price": "187.5", "quantity": "10", "client_order_id": "mine-1"}

PLACE = [
    OpenApiExample("Limit order", value=_ORDER, request_only=True),
    OpenApiExample(
        "Market order by quantity",
        value={"symbol": "AAPL", "side": "SELL", "type": "MARKET", "quantity": "5"},
        request_only=True,
    ),
    OpenApiExample(
        "Market order by amount",
        value={"symbol": "BTC_USDT", "side": "BUY", "type": "MARKET", "quote_quantity": "250"},
        request_only=True,
    ),
    OpenApiExample(
        "Stop: sell what is left when the price falls to 180",
        value={"symbol": "AAPL", "side": "SELL", "type": "STOP_LOSS", "stop_price": "180", "quantity": "5"},
        request_only=True,
    ),
    OpenApiExample(
        "Trailing stop, 1.5 % behind the price",
        value={"symbol": "AAPL", "side": "SELL", "type": "TRAILING_STOP", "trail_percent": "1.5", "quantity": "5"},
        request_only=True,
    ),
    OpenApiExample(
        "Iceberg",
        value={
            "symbol": "AAPL", "side": "BUY", "price": "187", "quantity": "1000", "displayed_quantity": "50",
        },
        request_only=True,
    ),
    OpenApiExample(
        "Post-only order",
        value={"symbol": "BTC_USDT", "side": "SELL", "price": "68000", "quantity": "0.01", "post_only": True},
        request_only=True,
    ),
]

BATCH = [
    OpenApiExample(
        "Two orders", value={"orders": [_ORDER, {**_ORDER, "side": "SELL", "price": "189"}]}, request_only=True
    )
]
