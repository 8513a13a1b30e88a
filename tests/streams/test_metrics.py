"""What Prometheus hears of sockets: how many of which kind are open, and how old the news is that they are told."""

import pytest
from prometheus_client import REGISTRY

from tests.patience import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = {
    "orderbook": "/ws/orderbook/AAPL/",
    "trades": "/ws/trades/?symbol=AAPL",
    "prices": "/ws/prices/",
    "market": "/ws/market/",
    "user": "/ws/user/",
}


def opened(kind: str) -> float:
    return REGISTRY.get_sample_value("venue_sockets", {"kind": kind}) or 0


def told(stage: str) -> float:
    return REGISTRY.get_sample_value("venue_publish_lag_seconds_count", {"stage": stage}) or 0


@pytest.mark.parametrize("kind", KINDS)
def test_open_sockets_by_kind(venue, server, kind):
    before = opened(kind)
    with server.client(KINDS[kind]):
        wait_until(lambda: opened(kind) == before + 1, "the socket to be counted")
    wait_until(lambda: opened(kind) == before, "the socket to be gone")


def test_lag_is_measured_once_a_batch_at_the_hub_and_once_a_tick_at_the_sockets(venue, server):
    venue.trader("ann", USD=1_000)
    hub, sockets = told("hub"), told("socket")
    with server.client("/ws/orderbook/AAPL/") as client:
        client.next()
        venue.order("ann BUY 1 AAPL @ 100")
        assert client.next()["type"] == "update"
        wait_until(lambda: told("socket") == sockets + 1, "the lag to be noted")
    assert told("hub") > hub
