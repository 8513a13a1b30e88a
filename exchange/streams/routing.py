"""Paths of the sockets; a trailing slash is optional. Whoever adds paths puts them before the last line, which
answers for all others.
"""

from django.urls import re_path

from exchange.streams.consumers import NowhereConsumer, OrderBookConsumer, TradesConsumer
from exchange.streams.market import MarketDataConsumer
from exchange.streams.prices import PricesConsumer
from exchange.streams.user import UserConsumer

websocket_urlpatterns = [
    re_path(r"^ws/orderbook(?:/(?P<symbol>[^/]+))?/?$", OrderBookConsumer.as_asgi()),
    re_path(r"^ws/trades(?:/(?P<symbol>[^/]+))?/?$", TradesConsumer.as_asgi()),
    re_path(r"^ws/prices/?$", PricesConsumer.as_asgi()),
    re_path(r"^ws/market/?$", MarketDataConsumer.as_asgi()),
    re_path(r"^ws/user/?$", UserConsumer.as_asgi()),
    re_path(r"", NowhereConsumer.as_asgi()),
]
