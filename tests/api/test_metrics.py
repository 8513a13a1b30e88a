"""What Prometheus reads, and who may read it."""

import pytest
from django.test import Client

STAGES = ("lock", "decide", "commit", "publish")

pytestmark = pytest.mark.django_db(transaction=True)


def read(**headers) -> tuple[int, dict[str, float]]:
    """The status, and each sample by its name and labels."""
    response = Client().get("/metrics", **headers)
    lines = [line for line in response.content.decode().splitlines() if line and not line.startswith("#")]
    samples = dict(line.rsplit(" ", 1) for line in lines) if response.status_code == 200 else {}
    return response.status_code, {name: float(value) for name, value in samples.items()}


def test_commands_refusals_and_trades_are_counted(venue):
    venue.trader("ann", USD=1000)
    venue.trader("bob", AAPL=10)
    _, before = read()
    venue.order("bob SELL 1 AAPL @ 100")
    venue.order("ann BUY 1 AAPL @ 100")
    assert venue.refused("ann BUY 1000 AAPL @ 100") == "insufficient_funds"
    _, after = read()
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert grown['venue_commands_total{kind="place"}'] == 3
    assert grown['venue_refusals_total{code="insufficient_funds"}'] == 1
    assert grown["venue_trades_total"] == 1
    assert [grown[f'venue_batch_seconds_count{{stage="{stage}"}}'] for stage in STAGES] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("token", "address", "proxies", "shown", "status"),
    [
        ("", "127.0.0.1", 0, "", 200),
        ("", "127.0.0.1", 1, "", 403),
        ("", "10.0.0.9", 0, "", 403),
        ("s3cret", "127.0.0.1", 0, "", 403),
        ("s3cret", "10.0.0.9", 0, "wrong", 403),
        ("s3cret", "10.0.0.9", 1, "s3cret", 200),
    ],
)
def test_who_may_read(venue, settings, token, address, proxies, shown, status):
    settings.METRICS_TOKEN, settings.TRUSTED_PROXIES = token, proxies
    assert read(REMOTE_ADDR=address, HTTP_AUTHORIZATION=f"Bearer {shown}")[0] == status
