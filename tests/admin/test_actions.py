"""What operators can do, each through the service that owns it: halt, reopen, edit, register, adjust, cancel."""

from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command

from accounts.models import Account, AccountEvent, Balance, Journal, User
from accounts.users import main_account
from exchange import audit, orders
from exchange.models import Order
from marketdata.models import Asset, Market, TradingCalendar
from marketdata.refusals import Refusal
from tests.admin.test_pages import text, url


def log_of(row) -> list[str]:
    return list(LogEntry.objects.filter(object_id=row.pk).order_by("id").values_list("change_message", flat=True))


def market(symbol: str = "AAPL") -> Market:
    return Market.objects.get(symbol=symbol)


def audit_is_clean() -> bool:
    return not [finding.name for finding in audit.run() if finding.violations]


# Markets


def test_the_switch_of_a_market(venue, operator):
    venue.trader("ann", USD=10_000)
    order = venue.order("ann BUY 1 AAPL @ 100")
    version = market().version
    for action, status, placing, cancelling in [
        ("halt", "HALTED", "market_halted", "market_halted"),
        ("cancel-only", "CANCEL_ONLY", "market_halted", None),
        ("reopen", "OPEN", None, None),
    ]:
        page = f"/admin/marketdata/market/{market().pk}/{action}/"
        assert operator.get(page).status_code == 200
        assert operator.post(page, {"reason": " "}).status_code == 400
        assert operator.post(page, {"reason": f"because of {action}"}).status_code == 302
        assert market().status == status
        if placing:
            assert venue.refused("ann BUY 1 AAPL @ 100") == placing
        if cancelling:
            with pytest.raises(Refusal) as refusal:
                venue.cancel("ann", order)
            assert refusal.value.code == cancelling
    assert venue.cancel("ann", order)["status"] == "CANCELLED"
    assert market().version == version + 3
    assert log_of(market()) == [
        "OPEN → HALTED: because of halt",
        "HALTED → CANCEL_ONLY: because of cancel-only",
        "CANCEL_ONLY → OPEN: because of reopen",
    ]


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ({}, "AAPL is already Halted."),
        ({"status_reason": "by rule: it moved too far"}, "AAPL is now Halted."),
        ({"scheduled_status": "HALTED"}, "AAPL is now Halted."),
    ],
)
def test_halting_what_is_halted_changes_only_whose_halt_it_is(venue, operator, before, message):
    Market.objects.filter(symbol="AAPL").update(status="HALTED", **before)
    version, page = market().version, f"/admin/marketdata/market/{market().pk}/halt/"
    answer = operator.post(page, {"reason": "again"}, follow=True)
    assert message in text(answer)
    assert (market().status, market().status_reason, market().scheduled_status) == ("HALTED", "", "")
    assert market().version == version + bool(before)
    assert log_of(market()) == ["HALTED → HALTED: again"] * bool(before)


def test_a_market_with_figures_that_are_refused_by_now_can_be_halted(venue, operator):
    Market.objects.filter(symbol="AAPL").update(volatility_band=Decimal("-0.5"))
    page = f"/admin/marketdata/market/{market().pk}/halt/"
    assert operator.post(page, {"reason": "nothing trades"}).status_code == 302
    assert market().status == "HALTED"


def test_halting_all_markets(venue, operator):
    assert operator.get("/admin/marketdata/market/halt-all/").status_code == 200
    assert set(Market.objects.values_list("status", flat=True)) == {"OPEN"}
    assert operator.post("/admin/marketdata/market/halt-all/", {"reason": "fire"}).status_code == 302
    assert set(Market.objects.values_list("status", flat=True)) == {"HALTED"}


def form_of(response) -> dict:
    """What a browser would send back unchanged."""
    form = response.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    for inline in response.context["inline_admin_formsets"]:
        management = inline.formset.management_form
        values.update({management[name].html_name: management[name].value() for name in management.fields})
    return {name: value for name, value in values.items() if value is not None and value is not False}


def test_editing_filters(venue, operator):
    venue.trader("ann", USD=10_000)
    venue.order("ann BUY 1 AAPL @ 100")
    page = url(Market, "change", market().pk)
    sent = form_of(operator.get(page))
    assert "tick_size" not in sent and "status" not in sent, "fixed once orders have rested"
    assert sent["price_band"] == "0.1" or Decimal(sent["price_band"]) == Decimal("0.1")
    before = market()
    assert operator.post(page, {**sent, "min_quantity": "5"}).status_code == 302
    after = market()
    assert (after.min_quantity, after.version, after.sequence) == (5, before.version + 1, before.sequence)
    assert venue.refused("ann BUY 1 AAPL @ 100") == "quantity_out_of_range"
    for wrong, words in [
        ({"min_quantity": "0.5"}, "multiple of the lot size"),
        ({"max_quantity": "1"}, "Must not be below the minimum"),
        ({"price_band": "2"}, "must be above 0 and below 1"),
        ({"taker_fee": "-0.01"}, "must be at least 0 and below 1"),
        ({"maker_fee": "1"}, "must be above -1 and below 1"),
        ({"taker_fee": "NaN"}, "Enter a number"),
        ({"maker_fee": ""}, "required"),
        # Figures with which nothing would trade.
        ({"max_notional": "-1"}, "Must be above 0"),
        ({"max_notional": "0"}, "Must be above 0"),
        ({"reference_price": "-1"}, "Must be above 0"),
        ({"reference_price": "0"}, "Must be above 0"),
        ({"volatility_band": "-0.5"}, "must be above 0 and below 1"),
        ({"volatility_band": "1"}, "must be above 0 and below 1"),
        ({"max_order_ratio": "0"}, "Must be above 0"),
        ({"max_interruptions": "0"}, "Must be above 0"),
        ({"auction_seconds": "0"}, "Must be above 0"),
        ({"max_open_orders": "0"}, "Must be above 0"),
        ({"min_notional": "100", "max_notional": "99"}, "Must not be below the minimum notional"),
        ({"calendar": TradingCalendar.objects.create(name="days").pk}, "has no trading hours"),
    ]:
        answer = operator.post(page, {**sent, "min_quantity": "5", **wrong})
        assert answer.status_code == 200 and words in text(answer), wrong
    assert market().version == after.version


NEW_MARKET = {
    "symbol": "ETH_USD", "kind": "SPOT", "status": "OPEN", "is_active": "on", "tick_size": "0.01", "lot_size": "0.001",
    "max_quantity": "1000", "min_notional": "0", "max_open_orders": "100", "maker_fee": "0.001", "taker_fee": "0.002",
    "settlement_days": "0", "auction_seconds": "120", "trigger_by": "LAST",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tick_size": "0.0000001"}, "a notional would have to be rounded"),
        ({"lot_size": "0"}, "must be positive"),
        ({"base": ""}, "required"),
        ({"tick_size": ""}, "required"),
        ({"base": "same"}, "another asset than the base"),
        ({"symbol": "eth usd"}, "Enter a valid value"),
        ({"symbol": "AAPL"}, "already exists"),
        ({}, None),
    ],
)
def test_adding_a_market(venue, operator, change, words):
    assets = {"base": venue.assets["BTC"].pk, "quote": venue.assets["USD"].pk}
    sent = {**NEW_MARKET, **assets, **change}
    if sent["base"] == "same":
        sent["base"] = sent["quote"]
    answer = operator.post(url(Market, "add"), sent)
    if words:
        assert answer.status_code == 200 and words in text(answer)
    else:
        assert answer.status_code == 302 and Market.objects.get(symbol="ETH_USD").taker_fee == Decimal("0.002")


def test_an_assets_unit_is_fixed(venue, operator):
    asset = venue.assets["BTC"]
    sent = {"symbol": "XXX", "decimals": "2", "name": "Bitcoin", "kind": "CRYPTO", "is_active": "on"}
    assert operator.post(url(Asset, "change", asset.pk), sent).status_code == 302
    asset.refresh_from_db()
    assert (asset.symbol, asset.decimals, asset.name) == ("BTC", 8, "Bitcoin")


# People


def test_a_user_is_registered_with_an_account(venue, operator):
    sent = {"username": "zoe", "email": "", "password1": "correct-horse-battery", "password2": "correct-horse-battery"}
    assert operator.post(url(User, "add"), sent).status_code == 302
    zoe = User.objects.get(username="zoe")
    assert zoe.check_password("correct-horse-battery")
    assert zoe.accounts.get().kind == Account.Kind.MAIN
    for wrong, words in [
        ({"username": "ZOE"}, "already exists"),
        ({"username": "yan", "password1": "12345678", "password2": "12345678"}, "entirely numeric"),
        ({"username": "yan", "password1": "other-horse-battery"}, "match"),
        ({"username": "yan", "password1": "", "password2": ""}, "required"),
    ]:
        answer = operator.post(url(User, "add"), {**sent, **wrong})
        assert answer.status_code == 200, wrong
        assert words in text(answer), wrong
    assert User.objects.filter(username__in=["ZOE", "yan"]).count() == 0


def test_a_superuser_gets_an_account_when_one_is_needed(venue, operator):
    user = User.objects.get(username="operator")
    assert not user.accounts.exists()
    assert main_account(user) == main_account(user)


def test_only_superusers_hand_out_privileges(venue, operator, clerk):
    boss, ann = User.objects.get(username="operator"), venue.trader("ann").user
    browser = clerk("accounts.view_user", "accounts.change_user", "auth.view_group", "auth.change_group")
    sent = {"username": "ann", "email": "ann@example.com", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    assert browser.post(url(User, "change", ann.pk), sent).status_code == 302
    ann.refresh_from_db()
    assert (ann.email, ann.is_staff, ann.is_superuser) == ("ann@example.com", False, False)
    assert browser.post(url(User, "change", boss.pk), sent).status_code == 403
    password = {"password1": "stolen-horse-battery", "password2": "stolen-horse-battery"}
    assert browser.post(f"/admin/accounts/user/{boss.pk}/password/", password).status_code == 403
    assert browser.get("/admin/auth/group/").status_code == 403


# Money


def adjust(browser, account: Account, **fields):
    page = f"/admin/accounts/account/{account.pk}/adjust/"
    shown = browser.get(page)
    key = shown.context["form"]["request_key"].value() if shown.status_code == 200 else ""
    return browser.post(page, {"request_key": str(key), **fields})


def test_an_adjustment_is_a_journal_with_a_reason_and_events(venue, operator):
    account = venue.trader("ann", USD=100)
    usd = venue.assets["USD"].pk
    events = AccountEvent.objects.filter(account=account).count()
    assert adjust(operator, account, asset=usd, amount="50.5", reason="goodwill").status_code == 302
    assert adjust(operator, account, asset=usd, amount="-0.25", reason="goodwill, corrected").status_code == 302
    assert venue.funds("ann", "USD") == "150.25+0"
    journal = Journal.objects.filter(kind="ADJUSTMENT").latest("id")
    assert (journal.reason, journal.actor.username) == ("goodwill, corrected", "operator")
    assert AccountEvent.objects.filter(account=account).count() == events + 2
    last = AccountEvent.objects.filter(account=account).latest("last_sequence").events[-1]
    assert (last["type"], last["asset"], last["available"]) == ("balance", "USD", "150.25")
    assert "Adjusted by +50.5 USD" in log_of(account)[0] and "goodwill" in log_of(account)[0]
    assert audit_is_clean()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"amount": "-101"}, "Needs 101 USD, available are 100"),
        ({"amount": "0"}, "above 0"),
        ({"amount": "0.000000001"}, "decimals"),
        ({"amount": "NaN"}, "Enter a number"),
        ({"amount": "1e30"}, "digits"),
        ({"reason": "  "}, "required"),
        ({"asset": ""}, "required"),
    ],
)
def test_an_adjustment_that_cannot_be_leaves_no_trace(venue, operator, fields, words):
    account = venue.trader("ann", USD=100)
    answer = adjust(operator, account, **{"asset": venue.assets["USD"].pk, "amount": "1", "reason": "x", **fields})
    assert answer.status_code == 400 and words in text(answer)
    assert venue.funds("ann", "USD") == "100+0"
    assert not Journal.objects.filter(kind="ADJUSTMENT").exists() and not LogEntry.objects.exists()


def test_sending_an_adjustment_twice_posts_it_once(venue, operator):
    account = venue.trader("ann", USD=100)
    page = f"/admin/accounts/account/{account.pk}/adjust/"
    key = operator.get(page).context["form"]["request_key"].value()
    sent = {"request_key": str(key), "asset": venue.assets["USD"].pk, "amount": "5", "reason": "once"}
    assert operator.post(page, sent).status_code == 302
    Asset.objects.update(is_active=False)  # what is no longer listed is told, and corrected, all the same
    again = operator.post(page, sent)
    assert again.status_code == 400 and "posted already" in text(again)
    assert adjust(operator, account, asset=sent["asset"], amount="-1", reason="delisted").status_code == 302
    assert venue.funds("ann", "USD") == "104+0"


def test_a_balance_row_offers_its_own_adjustment(venue, operator):
    balance = Balance.objects.get(account=venue.trader("ann", USD=100))
    page = operator.get(f"/admin/accounts/balance/{balance.pk}/adjust/")
    assert page.context["form"]["asset"].value() == balance.asset_id


def test_the_outside_world_is_not_adjusted(venue, operator):
    venue.trader("ann", USD=100)
    outside = Account.objects.get(kind="OUTSIDE")
    assert operator.get(f"/admin/accounts/account/{outside.pk}/adjust/").status_code == 403
    assert "/adjust/" not in text(operator.get(url(Account, "change", outside.pk)))
    assert operator.get("/admin/accounts/account/999999/adjust/").status_code == 404


def test_editing_an_account_leaves_its_event_sequence_alone(venue, operator):
    account = venue.trader("ann", USD=100)
    page = url(Account, "change", account.pk)
    sent = {**form_of(operator.get(page)), "name": "ann's", "event_sequence": "0"}
    del sent["is_active"]
    assert operator.post(page, sent).status_code == 302
    account.refresh_from_db()
    assert (account.name, account.is_active, account.event_sequence) == ("ann's", False, 1)
    assert venue.refused("ann BUY 1 AAPL @ 10") == "account_inactive"


# Orders


def test_cancelling_an_order_goes_through_the_door(venue, operator):
    venue.trader("ann", USD=10_000)
    order = venue.order("ann BUY 1 AAPL @ 100")
    venue.change("AAPL", status="HALTED")
    page = f"/admin/exchange/order/{order['id']}/cancel/"
    assert operator.get(page).status_code == 200
    assert venue.stored(order)["status"] == "OPEN"
    assert operator.post(page, {"reason": "a typing error"}).status_code == 302
    assert venue.stored(order)["status"] == "CANCELLED"
    assert venue.funds("ann", "USD") == "10000+0"
    assert log_of(Order.objects.get(pk=order["id"])) == ["Cancelled: a typing error"]
    again = operator.post(page, {"reason": "again"})
    assert again.status_code == 400 and "no longer open" in text(again)
    assert audit_is_clean()


def test_cancelling_several_orders(venue, operator):
    """Those that have ended since the list was shown are told too, when it shows no such orders any more."""
    venue.trader("ann", USD=10_000)
    placed = [venue.order(f"ann BUY 1 AAPL @ {price}") for price in (99, 98, 97)]
    page = url(Order, "changelist") + "?state=open"
    sent = {"action": "cancel_selected", "_selected_action": [order["id"] for order in placed]}
    whole_list = {**sent, "_selected_action": placed[0]["id"], "select_across": "1"}
    assert "Cancel 3 orders" in text(operator.post(page, whole_list))
    orders.cancel(account_id=None, order_id=placed[1]["id"])
    asked = operator.post(page, {**sent, "select_across": "0"})
    assert asked.status_code == 200 and "Cancel 3 orders" in text(asked)
    assert venue.stored(placed[0])["status"] == "OPEN"
    done = operator.post(page, {**sent, "confirmed": "1", "reason": "fat fingers"}, follow=True)
    assert "2 of 3 orders are cancelled" in text(done) and "no longer open" in text(done)
    assert {venue.stored(order)["status"] for order in placed} == {"CANCELLED"}


def test_permissions_decide_what_a_clerk_may_do(venue, clerk):
    account = venue.trader("ann", USD=10_000)
    order = venue.order("ann BUY 1 AAPL @ 100")
    browser = clerk("exchange.view_order", "accounts.view_account", "marketdata.view_market")
    assert browser.get(url(Order, "changelist")).status_code == 200
    assert "cancel_selected" not in text(browser.get(url(Order, "changelist")))
    for page, sent in [
        (f"/admin/exchange/order/{order['id']}/cancel/", {"reason": "x"}),
        (f"/admin/accounts/account/{account.pk}/adjust/", {"reason": "x"}),
        (f"/admin/marketdata/market/{market().pk}/halt/", {"reason": "x"}),
        ("/admin/marketdata/market/halt-all/", {"reason": "x"}),
        (url(Market, "change", market().pk), {"min_quantity": "5"}),
        (url(User, "add"), {}),
    ]:
        assert browser.post(page, sent).status_code == 403, page
    assert venue.stored(order)["status"] == "OPEN" and market().status == "OPEN"


def test_a_clerk_with_the_right_may_cancel_and_adjust(venue, clerk):
    account = venue.trader("ann", USD=10_000)
    order = venue.order("ann BUY 1 AAPL @ 100")
    browser = clerk("exchange.change_order", "exchange.view_order", "accounts.change_balance", "accounts.view_account")
    assert browser.post(f"/admin/exchange/order/{order['id']}/cancel/", {"reason": "x"}).status_code == 302
    assert adjust(browser, account, asset=venue.assets["USD"].pk, amount="1", reason="x").status_code == 302
    assert venue.funds("ann", "USD") == "10001+0"


def test_capital_with_a_reason_too_long_to_keep(venue):
    venue.trader("ann", USD=5)
    with pytest.raises(CommandError, match="at most 200 characters"):
        call_command("add_capital", "ann", "USD", "1", reason="x" * 201)
    call_command("add_capital", "ann", "USD", "1", reason="x" * 200)
    assert venue.accounts["ann"].balances.get().total == 6
