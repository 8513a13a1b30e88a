"""What operators search for is found by an index, in tables of any length and by any of its names."""

import re

import pytest
from django.contrib import admin
from django.db import connection

from exchange.models import Order
from marketdata import markets, operators
from tests.admin.test_pages import text, url
from tests.trading.test_plans import PAST_AND_OTHERS

SENSELESS = [
    "exchange/order/?state=%00", "exchange/order/?side__exact=a%00b", "exchange/order/?client_order_id=%00",
    "exchange/order/?client_order_id__regex=(", "exchange/order/?price__gt=1e999999", "exchange/order/?price__range=1",
    "exchange/order/?created_at__year=99999", "marketdata/market/?status__exact=%00", "accounts/account/?kind=%00",
    "accounts/user/?username=%00", "axes/accessattempt/?username=%00", "auth/group/?name=%00",
]  # fmt: skip


def test_what_makes_no_sense_in_the_address_of_a_list_is_told_and_shows_all(operator, caplog, monkeypatch):
    operator.raise_request_exception = False
    for page in SENSELESS:
        answer = operator.get(f"/admin/{page}")
        assert (answer.status_code, answer.get("Location")) == (302, f"/admin/{page.partition('?')[0]}?e=1"), page
    assert text(operator.get(answer["Location"])).count("makes no sense: here are all") == len(SENSELESS)
    told = [record.getMessage() for record in caplog.records if record.name == "marketdata.operators"]
    assert len(told) == len(SENSELESS) and told[0].startswith("/admin/exchange/order/?state=%00 makes no sense: ")
    assert all(isinstance(page, operators.SoundLists) for page in admin.site._registry.values())
    # Of an address that asks for nothing, the error is ours.
    monkeypatch.setattr(admin.site._registry[Order], "get_queryset", lambda request: {}["ours"])
    assert [operator.get(f"/admin/exchange/order/{asked}").status_code for asked in ("", "?e=1")] == [500, 500]


@pytest.mark.parametrize("ticked", ["abc", "\x00", "½"])
def test_what_comes_as_ticked_rows_and_is_none_does_nothing(venue, operator, ticked):
    asked = 0
    for model in admin.site._registry:
        page = url(model, "changelist")
        for name in re.findall(r'<option value="(\w+)"', text(operator.get(page))):
            sent = {"action": name, "_selected_action": ["1", ticked], "index": "0"}
            told = text(operator.post(page, sent, follow=True))
            assert "none of this list: nothing was done" in told, (model, name)
            asked += 1
    assert asked > 4


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
