"""Withdrawals: asked for, reserved, decided once; operators' pages for them and for transfers."""

import os
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.db import connection
from django.urls import reverse

from accounts import ledger, transfers, withdrawals
from accounts.models import Account, Entry, Journal, Movement, User, Withdrawal
from exchange import audit
from marketdata.models import Asset
from marketdata.refusals import Malformed, Refusal
from tests.admin.conftest import clerk, operator  # noqa: F401

V1 = "/api/v1/"
WITHDRAW = V1 + "wallet/withdraw/"
LIST = V1 + "wallet/withdrawals/"
#: REQUESTS=1000 makes the proof longer.
REQUESTS = int(os.environ.get("REQUESTS") or 200)


def ask(api, amount="100", key=None, asset="USD", **terms):
    return api("POST", WITHDRAW, {"asset": asset, "amount": amount}, headers={"Idempotency-Key": key}, **terms)


@pytest.fixture
def boss(venue) -> User:
    return User.objects.create_superuser("boss", password="correct-horse-battery")


#: (what the operator or the user does, status, ann's dollars afterwards, journals that paid out)
ENDINGS = [
    (lambda row, boss: withdrawals.approve(withdrawal_id=row, actor=boss, reason="paid"), "APPROVED", "900+0", 1),
    (lambda row, boss: withdrawals.reject(withdrawal_id=row, actor=boss, reason="why?"), "REJECTED", "1000+0", 0),
    (lambda row, boss: withdrawals.cancel(withdrawal_id=row, account_id=mine(row)), "CANCELLED", "1000+0", 0),
]


def mine(withdrawal_id: int) -> int:
    return Withdrawal.objects.get(pk=withdrawal_id).account_id


@pytest.mark.parametrize(("end", "status", "funds", "journals"), ENDINGS)
def test_a_withdrawal_is_reserved_then_decided_once(venue, boss, end, status, funds, journals):
    ann = venue.trader("ann", USD=1000)
    row = withdrawals.request(account=ann, asset=venue.assets["USD"], amount=Decimal(100))
    assert (row.status, venue.funds("ann", "USD")) == ("PENDING", "900+100")
    assert not violations()
    end(row.pk, boss)
    row.refresh_from_db()
    assert (row.status, venue.funds("ann", "USD")) == (status, funds)
    assert row.decided_at >= row.requested_at
    paid = Journal.objects.filter(kind="WITHDRAWAL", reference=row.pk)
    assert [journal.pk for journal in paid] == [row.journal_id] * journals
    for again, *_ in ENDINGS:
        with pytest.raises(withdrawals.WithdrawalDecided):
            again(row.pk, boss)
    assert venue.funds("ann", "USD") == funds
    assert not violations()


def violations() -> list[str]:
    return [finding.name for finding in audit.run() if finding.violations]


def test_the_audit_misses_a_pending_withdrawal_that_vanished(venue):
    ann = venue.trader("ann", USD=1000)
    withdrawals.request(account=ann, asset=venue.assets["USD"], amount=Decimal(100))
    Withdrawal.objects.all().delete()
    assert violations() == ["reserved_is_what_orders_need"]


def test_reserved_money_trades_no_more(venue):
    ann = venue.trader("ann", USD=1000)
    withdrawals.request(account=ann, asset=venue.assets["USD"], amount=Decimal(950))
    assert venue.refused("ann BUY 1 AAPL @ 100") == "insufficient_funds"
    venue.order("ann BUY 1 AAPL @ 40")
    with pytest.raises(ledger.InsufficientFunds):
        withdrawals.request(account=ann, asset=venue.assets["USD"], amount=Decimal(20))


def test_a_rejection_needs_a_reason(venue, boss):
    ann = venue.trader("ann", USD=1000)
    row = withdrawals.request(account=ann, asset=venue.assets["USD"], amount=Decimal(100))
    with pytest.raises(Malformed):
        withdrawals.reject(withdrawal_id=row.pk, actor=boss, reason=" ")


def test_identical_withdrawals_of_everything_at_once_give_exactly_one(venue):
    ann, usd = venue.trader("ann", USD=1000), venue.assets["USD"]

    def one(_) -> str:
        try:
            return withdrawals.request(account=ann, asset=usd, amount=Decimal(1000)).status
        except ledger.InsufficientFunds as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(REQUESTS)))
    assert sorted(answers) == sorted(["PENDING"] + ["insufficient_funds"] * (REQUESTS - 1))
    assert venue.funds("ann", "USD") == "0+1000"


def test_all_who_decide_at_once_but_one_come_too_late(venue, boss):
    ann = venue.trader("ann", USD=1000)
    row = withdrawals.request(account=ann, asset=venue.assets["USD"], amount=Decimal(100))

    def one(number: int) -> str:
        try:
            ENDINGS[number % 3][0](row.pk, boss)
            return "decided"
        except withdrawals.WithdrawalDecided:
            return "late"
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(24)))
    assert sorted(answers) == ["decided"] + ["late"] * 23
    row.refresh_from_db()
    assert venue.funds("ann", "USD") == ("900+0" if row.status == "APPROVED" else "1000+0")


# Over REST


def test_the_way_of_a_withdrawal_over_rest(api):
    reply = ask(api, "99999.5", key="w1")
    assert reply.status == 201 and reply.json["status"] == "PENDING"
    assert {"asset": "USD", "available": "0.5", "reserved": "99999.5", "total": "100000"} in reply.json["balances"]
    again = ask(api, "99999.50", key="w1")
    assert (again.status, again.json, again.headers["idempotent-replayed"]) == (201, reply.json, "true")
    assert ask(api, "1", key="w1").code == "idempotency_key_reused"
    assert ask(api, "1").code == "insufficient_funds"
    page = api("GET", LIST).json
    assert page["count"] == 1 and page["results"][0]["id"] == reply.json["id"]
    path = f"{LIST}{reply.json['id']}/"
    assert api("GET", path).json == page["results"][0]
    cancelled = api("DELETE", path)
    assert (cancelled.status, cancelled.json["status"]) == (200, "CANCELLED")
    assert (api("DELETE", path).status, api("DELETE", path).code) == (409, "withdrawal_decided")
    assert api("GET", LIST + "?status=pending").json["results"] == []
    assert len(api("GET", LIST + "?status=cancelled").json["results"]) == 1


def test_somebody_elses_withdrawal_is_not_there(api):
    path = f"{LIST}{ask(api).json['id']}/"
    replies = [api(method, path, token=api.tokens["bob"]) for method in ("GET", "DELETE")]
    assert [(reply.status, reply.code) for reply in replies] == [(404, "not_found")] * 2
    assert api("GET", LIST, token=api.tokens["bob"]).json["count"] == 0
    assert api("DELETE", f"{LIST}99999999999999999999/").status == 404
    assert {api("GET", path, token=None).status, api("DELETE", path, token=None).status} == {401}
    assert api("GET", path).json["status"] == "PENDING"


def test_a_venue_without_operators_pays_at_once(api, settings):
    settings.WITHDRAWALS_INSTANT = True
    reply = ask(api, "100000")
    assert (reply.status, reply.json["status"]) == (201, "APPROVED")
    assert Journal.objects.get(pk=reply.json["journal"]).kind == "WITHDRAWAL"
    assert "USD" not in {row["asset"] for row in reply.json["balances"]}


# Operators


def page(model, *name: object) -> str:
    first, *arguments = name
    return reverse(f"admin:accounts_{model.__name__.lower()}_{first}", args=arguments)


def said_of(row) -> list[str]:
    return [entry.change_message for entry in LogEntry.objects.filter(object_id=row.pk).order_by("id")]


def test_operators_decide_on_a_page(venue, operator, clerk):  # noqa: F811
    ann = venue.trader("ann", USD=1000)
    rows = [withdrawals.request(account=ann, asset=venue.assets["USD"], amount=Decimal(100)) for _ in range(2)]
    listed = operator.get(page(Withdrawal, "changelist"), {"status__exact": "PENDING"})
    assert set(listed.context["cl"].queryset) == set(rows)
    approve = page(Withdrawal, "approve_withdrawal", rows[0].pk)
    reject = page(Withdrawal, "reject_withdrawal", rows[1].pk)
    reader = clerk("accounts.view_withdrawal")
    assert reader.get(page(Withdrawal, "changelist")).status_code == 200
    assert reader.post(approve, {"reason": "x"}).status_code == 403
    assert (operator.get(approve).status_code, operator.get(reject).status_code) == (200, 200)
    assert Withdrawal.objects.filter(status="PENDING").count() == 2, "looking decides nothing"
    assert operator.post(approve, {}).status_code == 302
    assert operator.post(approve, {}).status_code == 400
    assert operator.post(reject, {"reason": ""}).status_code == 400
    assert operator.post(reject, {"reason": "unknown bank"}).status_code == 302
    assert venue.funds("ann", "USD") == "900+0"
    for row, status, reason in zip(rows, ("APPROVED", "REJECTED"), ("", "unknown bank"), strict=True):
        row.refresh_from_db()
        assert (row.status, row.reason, row.decided_by.username) == (status, reason, "operator")
        assert said_of(row) == [f"{status}: {reason}"]
        assert operator.get(page(Withdrawal, "change", row.pk)).status_code == 200
    assert operator.post(page(Withdrawal, "change", rows[0].pk), {"amount": "1"}).status_code == 403
    assert operator.get(page(Withdrawal, "changelist"), {"q": "ann"}).context["cl"].queryset.count() == 2


def test_the_front_page_counts_those_that_wait(venue, operator, clerk):  # noqa: F811
    ann = venue.trader("ann", USD=10_000, AAPL=5)
    for symbol, amount in (("USD", 1500), ("USD", 250), ("AAPL", 2)):
        withdrawals.request(account=ann, asset=venue.assets[symbol], amount=Decimal(amount))
    cache.clear()
    shown = operator.get(reverse("admin:index"))
    card = next(card for card in shown.context["venue_cards"] if card[0] == "Outstanding withdrawals")
    assert card[1:3] == ("3", "2 AAPL, 1,750 USD")
    assert operator.get(card[3]).context["cl"].queryset.count() == 3
    assert card[3].encode() in shown.content
    clerks = clerk("marketdata.view_market").get(reverse("admin:index"))
    assert b"Outstanding withdrawals" not in clerks.content


def test_operators_transfer_between_users(venue, operator):  # noqa: F811
    ann, bob = venue.trader("ann", USD=1000), venue.trader("bob")
    form = page(Account, "transfer_funds", ann.pk)
    key = operator.get(form).context["form"]["request_key"].value()
    sent = {
        "to_account": bob.pk, "asset": venue.assets["USD"].pk, "amount": "250.5", "reason": "prize", "request_key": key,
    }  # fmt: skip
    wrongs = ({"to_account": 999999}, {"to_account": ann.pk}, {"amount": "-1"}, {"amount": "2000"}, {"reason": " "})
    for wrong in wrongs:
        assert operator.post(form, {**sent, **wrong}).status_code == 400, wrong
    Asset.objects.update(is_active=False)  # that nobody trades it any more is no reason to leave it where it is
    assert operator.post(form, sent).status_code == 302
    assert operator.post(form, sent).status_code == 400, "the same page again"
    assert (venue.funds("ann", "USD"), venue.funds("bob", "USD")) == ("749.5+0", "250.5+0")
    journal = Journal.objects.get(kind="TRANSFER")
    assert (journal.reason, journal.actor.username) == ("prize", "operator")
    assert said_of(ann)[-1] == said_of(bob)[-1] and "250.5 USD" in said_of(bob)[-1]
    assert not violations()


def test_holdings_have_pages(venue, operator):  # noqa: F811
    venue.trader("ann", USD=1000)
    venue.trader("bob", AAPL=10, USD=1000)
    venue.order("bob SELL 3 AAPL @ 10")
    venue.order("ann BUY 3 AAPL @ 10")
    venue.order("ann SELL 1 AAPL @ 11")
    venue.order("bob BUY 1 AAPL @ 11")
    for name in ("holding", "realization"):
        listed = operator.get(reverse(f"admin:accounts_{name}_changelist"), {"q": str(venue.accounts["ann"].pk)})
        assert listed.context["cl"].queryset.count() == 1
        row = listed.context["cl"].queryset[0]
        assert operator.get(reverse(f"admin:accounts_{name}_change", args=[row.pk])).status_code == 200


@pytest.mark.parametrize("kind", ["from", "to"])
def test_nobody_transfers_with_the_outside_world(venue, kind):
    ann, outside = venue.trader("ann", USD=1000), ledger.outside_world()
    giver, taker = (outside, ann) if kind == "from" else (ann, outside)
    with pytest.raises(Refusal):
        terms = {"asset": venue.assets["USD"], "amount": Decimal(1), "reason": "x", "actor_id": None}
        transfers.transfer(from_account=giver, to_account=taker, **terms)


def test_movements_say_what_the_ledger_says(venue, boss):
    ann = venue.trader("ann", USD=1000)
    venue.trader("bob", USD=5, AAPL=10)
    venue.order("bob SELL 3 AAPL @ 10")
    venue.order("ann BUY 3 AAPL @ 10")
    usd = venue.assets["USD"]
    row = withdrawals.request(account=ann, asset=usd, amount=Decimal(100))
    withdrawals.approve(withdrawal_id=row.pk, actor=boss, reason="")
    transfers.adjust(account=ann, asset=usd, amount=Decimal(-1), reason="error", actor_id=None)
    entries = Entry.objects.exclude(journal__kind="TRADE").filter(account__user__isnull=False)
    named = ("account_id", "asset_id", "amount", "journal_id")
    assert set(Movement.objects.values_list(*named)) == set(entries.values_list(*named))
    assert Movement.objects.count() == 5
