"""What operators search for is found by an index, in tables of any length and by any of its names."""

import re

import pytest
from django.db import connection

from exchange.models import Order
from marketdata import markets, operators
from tests.admin.test_pages import url
from tests.trading.test_plans import PAST_AND_OTHERS


@pytest.fixture
def lived(venue):
    """40,000 orders of two accounts, and one of ann's that is searched for."""
    ann, bob, _ = (venue.trader(name, USD=1_000) for name in ("ann", "bob", "cid"))
    with connection.cursor() as cursor:
        cursor.execute(PAST_AND_OTHERS, {"market": markets.by_symbol("AAPL").id, "ann": ann.id, "bob": bob.id})
        venue.order("cid BUY 1 AAPL @ 100")
        cursor.execute("VACUUM ANALYZE exchange_order")
    return venue


@pytest.mark.parametrize("what", ["order", "account", "owner", "nothing"])
def test_an_order_is_found_without_reading_the_others(lived, operator, what):
    order = Order.objects.get(account__user__username="cid")
    term = {"order": order.pk, "account": order.account_id, "owner": "ci", "nothing": 10**12}[what]
    rows = operator.get(url(Order, "changelist"), {"q": str(term)}).context["cl"].queryset
    assert list(rows) == ([] if what == "nothing" else [order])
    plan = rows.all()[:50].explain(analyze=True)
    passed = sum(int(count) for count in re.findall(r"Rows Removed by [\w ]+: (\d+)", plan))
    assert "Seq Scan on exchange_order" not in plan and passed < 100, plan


def test_a_name_that_many_have_finds_all_of_theirs(venue, operator, monkeypatch):
    for name in ("ann", "annabel", "bob"):
        venue.trader(name, USD=1_000)
        venue.order(f"{name} BUY 1 AAPL @ 100")
    for named in (1, 2):
        monkeypatch.setattr(operators, "NAMED", named)
        rows = operator.get(url(Order, "changelist"), {"q": "ann"}).context["cl"].queryset
        assert {row.account for row in rows} == {venue.accounts["ann"], venue.accounts["annabel"]}
