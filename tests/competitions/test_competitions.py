"""Competitions: joining once, an account apart, terms that bind, who leads, rounds."""

import threading
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from unittest.mock import AsyncMock, Mock

import pytest
from django.db import connection
from django.test import Client as Browser

from accounts import competitions, transfers
from accounts.models import Account, Balance, Competition, CompetitionEntry, Entry, User
from accounts.valuation import load_pairs, prices_in
from config import background
from exchange import audit, closing, orders
from exchange.models import Order
from marketdata import clock, markets
from marketdata.models import Market
from marketdata.refusals import Refusal
from tests.security.bots import Bot
from tests.venue import PASSWORD

V1 = "/api/v1/"
ORDERS, WALLET = V1 + "orders/", V1 + "wallet/"
BUY = {"symbol": "AAPL", "side": "BUY", "price": "100", "quantity": "5"}


def join(api, competition, name: str = "ann"):
    return api("POST", f"{V1}competitions/{competition.pk}/join/", token=api.tokens[name])


def within(entry) -> dict:
    """The header that chooses an entry's account."""
    return {"X-Account": str(entry["account"] if isinstance(entry, dict) else entry)}


def board(api, competition, query: str = "", name: str = "ann") -> list[tuple]:
    rows = api("GET", f"{V1}competitions/{competition.pk}/leaderboard/{query}", token=api.tokens[name]).json["results"]
    return [(row["rank"], row["username"], row["equity"]) for row in rows]


def balances(api, entry=None) -> dict[str, str]:
    headers = within(entry) if entry else None
    return {row["asset"]: row["total"] for row in api("GET", WALLET, headers=headers).json["balances"]}


def test_joining(api, contest):
    spring = contest()
    (listed,) = api("GET", V1 + "competitions/").json["results"]
    assert (listed["status"], listed["entry"], listed["markets"]) == ("RUNNING", None, ["AAPL"])
    assert (listed["starting_asset"], listed["starting_amount"], listed["round"]) == ("USD", "10000", 1)
    first, again = join(api, spring), join(api, spring)
    assert (first.status, again.status, again.headers["idempotent-replayed"]) == (201, 200, "true")
    assert first.json == again.json == api("GET", f"{V1}competitions/{spring.pk}/").json["entry"]
    assert balances(api, first.json) == {"USD": "10000"}
    assert balances(api) == {"AAPL": "1000", "USD": "100000", "USDT": "100000"}
    assert Account.objects.get(pk=first.json["account"]).kind == Account.Kind.SUB


def test_joining_twenty_times_at_once_is_one_entry(api, contest):
    spring, ann = contest(), User.objects.get(username="ann")
    ready, found = threading.Barrier(8), []

    def enter():
        ready.wait()
        found.append(competitions.join(competition=spring, user=ann))
        connection.close()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len({entry.pk for entry, _ in found}) == 1 and Counter(new for _, new in found) == {True: 1, False: 7}
    assert Account.objects.filter(kind="SUB").count() == CompetitionEntry.objects.count() == 1


@pytest.mark.parametrize("lean", [True, False])
def test_an_entry_trades_from_its_own_account(api, contest, settings, lean):
    settings.LEAN = lean
    entry = join(api, contest()).json
    api.venue.order("bob SELL 5 AAPL @ 100")
    placed = api("POST", ORDERS, BUY, headers=within(entry))
    assert (placed.status, placed.json["status"]) == (201, "FILLED")
    assert balances(api, entry) == {"AAPL": "5", "USD": "9499.5"}
    assert balances(api) == {"AAPL": "1000", "USD": "100000", "USDT": "100000"}
    counts = {path: api("GET", V1 + path, headers=within(entry)).json["count"] for path in ("orders/", "fills/")}
    assert counts == {"orders/": 1, "fills/": 1}
    assert api("GET", ORDERS).json["count"] == 0
    assert api("GET", f"{ORDERS}{placed.json['id']}/").status == 404
    assert api("GET", f"{V1}events/", headers=within(entry)).json["events"]
    audit_is_clean()


#: X-Account of the request, as a function of ann's and bob's account ids: what it is worth
CHOICES = {
    "own main": (lambda ann, bob, entry: ann, 200),
    "own entry": (lambda ann, bob, entry: entry, 200),
    "another's main": (lambda ann, bob, entry: bob, 404),
    "nobody's": (lambda ann, bob, entry: 10**9, 404),
    "huge": (lambda ann, bob, entry: 2**70, 404),
    "zero": (lambda ann, bob, entry: 0, 404),
    "a word": (lambda ann, bob, entry: "mine", 404),
    "empty": (lambda ann, bob, entry: "", 404),
    "negative": (lambda ann, bob, entry: -1, 404),
}


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("name", CHOICES)
def test_only_own_accounts_can_be_chosen(api, contest, settings, lean, name):
    settings.LEAN = lean
    choose, status = CHOICES[name]
    ann, bob = (api.venue.accounts[trader].pk for trader in ("ann", "bob"))
    chosen = {"X-Account": str(choose(ann, bob, join(api, contest()).json["account"]))}
    for _ in range(2):
        assert api("GET", WALLET, headers=chosen).status == status
        assert api("POST", ORDERS, BUY, headers=chosen).status == (201 if status == 200 else 404)


def test_the_houses_accounts_cannot_be_chosen(api):
    for account in Account.objects.filter(user=None):
        assert api("GET", WALLET, headers=within(account.pk)).status == 404


def test_keys_are_bound_to_the_account_they_were_made_under(api, contest):
    entry = join(api, contest()).json
    body = {"name": "bot", "permissions": ["READ", "TRADE"]}
    made = [api("POST", V1 + "api-keys/", body, headers=headers).json for headers in (within(entry), None)]
    inside, outside = Bot(api, made[0]), Bot(api, made[1])
    assert made[0]["account"] == entry["account"]
    placed = inside("POST", ORDERS, BUY)
    assert placed.status == 201 and Order.objects.get(pk=placed.json["id"]).account_id == entry["account"]
    assert outside("DELETE", f"{ORDERS}{placed.json['id']}/").status == 404
    assert inside("GET", WALLET, headers=within(entry)).status == 200
    main = api.venue.accounts["ann"].pk
    assert [
        bot("GET", WALLET, headers=within(account)).status for bot, account in ((inside, main), (outside, entry))
    ] == [
        404,
        404,
    ]


# Terms


@pytest.mark.parametrize(
    ("starts", "ends", "symbol", "code"),
    [
        (-60, 60, "AAPL", None),
        (-60, 60, "BTC_USDT", "competition_closed"),
        (60, 120, "AAPL", "competition_closed"),
    ],
)
def test_when_and_where_an_entry_may_trade(api, contest, starts, ends, symbol, code):
    entry = join(api, contest(starts=starts, ends=ends)).json
    reply = api("POST", ORDERS, {**BUY, "symbol": symbol}, headers=within(entry))
    assert (reply.status == 201) if code is None else (reply.status, reply.code) == (422, code)


def test_after_the_end_nothing_is_placed_or_amended_but_cancelled(api, contest):
    entry = join(api, contest(ends=60)).json
    mine = [api("POST", ORDERS, BUY, headers=within(entry)).json["id"] for _ in range(2)]
    clock.shift(61)
    assert api("POST", ORDERS, BUY, headers=within(entry)).code == "competition_closed"
    assert api("PUT", f"{ORDERS}{mine[0]}/", {"price": "101"}, headers=within(entry)).code == "competition_closed"
    assert api("DELETE", f"{ORDERS}{mine[0]}/", headers=within(entry)).status == 200
    assert api("POST", ORDERS, BUY).status == 201


def test_an_operators_edit_reaches_the_entries(api, contest):
    spring = contest()
    entry = join(api, spring).json
    spring.ends_at = clock.now() - timedelta(seconds=1)
    spring.save()
    spring.markets.set(Market.objects.all())
    assert competitions.apply_terms(spring) == 1
    assert api("POST", ORDERS, BUY, headers=within(entry)).code == "competition_closed"


def test_money_neither_comes_nor_goes(api, contest):
    entry = join(api, contest()).json
    replies = [api("POST", path, {"amount": "1"}, headers=within(entry)) for path in (WALLET, WALLET + "withdraw/")]
    assert [(reply.status, reply.code) for reply in replies] == [(403, "competition_money")] * 2
    assert balances(api, entry) == {"USD": "10000"}


def test_nobody_joins_what_is_over(api, contest):
    over = contest(starts=-120, ends=-60)
    assert join(api, over).code == "competition_closed"
    closing.close_due()
    assert join(api, over).code == "competition_closed"
    assert api("GET", f"{V1}competitions/{over.pk}/").json["status"] == "CLOSED"


def test_what_is_not_public_is_for_those_in_it(api, contest):
    secret = contest("Secret", is_public=False)
    path = f"{V1}competitions/{secret.pk}/"
    assert api("GET", path).status == api("GET", path + "leaderboard/").status == join(api, secret).status == 404
    competitions.enter(competition=secret, user=User.objects.get(username="ann"))
    assert api("GET", path).status == 200 and api("GET", V1 + "competitions/").json["count"] == 1
    assert api("GET", path, token=api.tokens["bob"]).status == 404
    assert api("GET", V1 + "competitions/", token=api.tokens["bob"]).json["count"] == 0


# Who leads


def recomputed(competition: Competition) -> dict[str, Decimal]:
    """Every entrant's equity from the ledger's entries alone."""
    prices = prices_in(competition.starting_asset_id, load_pairs())
    equity: dict[str, Decimal] = {}
    for entry in competition.entries.filter(round=competition.round):
        sums: Counter = Counter()
        for line in Entry.objects.filter(account_id=entry.account_id):
            sums[line.asset_id] += line.amount
        equity[entry.user.username] = sum((amount * prices[asset] for asset, amount in sums.items()), Decimal(0))
    return equity


def test_the_leaderboard_is_what_the_ledger_says(api, contest):
    spring = contest()
    for name in ("cat", "dan", "eve"):
        api.tokens[name] = _token(api.venue.trader(name))
    entries = {name: join(api, spring, name).json for name in api.tokens}
    for name, side, price, quantity in [
        ("ann", "BUY", "100", "20"), ("cat", "BUY", "101", "7"), ("ann", "SELL", "102", "9"),
        ("dan", "BUY", "102", "9"), ("cat", "SELL", "101", "3"), ("eve", "BUY", "101", "3"), ("eve", "BUY", "95", "11"),
    ]:  # fmt: skip
        if name in ("ann", "cat") and side == "BUY":
            api.venue.order(f"bob SELL {quantity} AAPL @ {price}")
        body = {**BUY, "side": side, "price": price, "quantity": quantity}
        assert api("POST", ORDERS, body, token=api.tokens[name], headers=within(entries[name])).status == 201
    told = board(api, spring)
    assert {username: Decimal(equity) for _, username, equity in told} == recomputed(spring)
    equities = [Decimal(equity) for *_, equity in told]
    assert equities == sorted(equities, reverse=True) and len(told) == 5 and len(set(equities)) > 2
    audit_is_clean()


def _token(account) -> str:
    from tests.api.conftest import token_of

    return token_of(account)


@pytest.mark.parametrize(
    ("equities", "ranks"),
    [([5, 7, 7, 3], [1, 1, 3, 4]), ([4, 4, 4], [1, 1, 1]), ([], []), ([9], [1]), ([1, 2, 2, 2], [1, 1, 1, 4])],
)
def test_ties(equities, ranks):
    rows = [(CompetitionEntry(pk=place), Decimal(equity), ()) for place, equity in enumerate(equities)]
    standings = competitions.ranked(rows)
    assert [standing.rank for standing in standings] == ranks
    assert [-standing.equity for standing in standings] == sorted(-Decimal(equity) for equity in equities)
    pairs = [(standing.rank, standing.entry.pk) for standing in standings]
    assert pairs == sorted(pairs), "within a rank, the first to join stands first"


def test_what_nobody_can_price_is_named(api, contest):
    spring = contest()
    entry = join(api, spring).json
    transfers.transfer(
        from_account=api.venue.accounts["bob"], to_account=Account.objects.get(pk=entry["account"]),
        asset=api.venue.assets["BTC"], amount=Decimal(1), reason="a present", actor_id=None,
    )  # fmt: skip
    (row,) = api("GET", f"{V1}competitions/{spring.pk}/leaderboard/").json["results"]
    assert (row["equity"], row["profit"], row["unpriced"]) == ("10000", "0", ["BTC"])


@pytest.mark.parametrize("days", [0, 2])
def test_a_trade_counts_from_the_moment_it_is_made(api, contest, days):
    """Ann buys at 100 and bob sells at 100.10, each to and from dan: then a share is worth 98, settled or not."""
    spring = contest()
    entries = {name: join(api, spring, name).json for name in ("ann", "bob")}
    api.venue.trader("dan", USD=10_000, AAPL=20)
    shares = {"asset": api.venue.assets["AAPL"], "amount": Decimal(10)}
    transfers.deposit(account=Account.objects.get(pk=entries["bob"]["account"]), **shares)
    api.venue.change("AAPL", settlement_days=days)
    for name, side, price in (("ann", "BUY", "100"), ("bob", "SELL", "100.1")):
        api.venue.order(f"dan {'SELL' if side == 'BUY' else 'BUY'} 10 AAPL @ {price}")
        body = {**BUY, "side": side, "price": price, "quantity": "10"}
        assert api("POST", ORDERS, body, token=api.tokens[name], headers=within(entries[name])).status == 201
    api.venue.order("dan SELL 1 AAPL @ 98")
    api.venue.order("bob BUY 1 AAPL @ 98")
    assert board(api, spring) == [(1, "bob", "10999.999"), (2, "ann", "9979")]
    totals = {}
    for name in ("ann", "bob"):
        found = api("GET", V1 + "portfolio/summary/", token=api.tokens[name], headers=within(entries[name])).json
        totals[name] = found["total_value"]
        assert found["unsettled_value"] == ("0" if not days else "-21" if name == "ann" else "19.999")
    assert (totals["ann"], totals["bob"]) == ("9979", "10999.999")


# Rounds


def test_closing_cancels_and_keeps_the_result(api, contest):
    spring = contest(ends=60)
    entry = join(api, spring).json
    join(api, spring, "bob")
    api.venue.order("bob SELL 5 AAPL @ 100")
    api("POST", ORDERS, BUY, headers=within(entry))
    resting = api("POST", ORDERS, {**BUY, "price": "99"}, headers=within(entry)).json["id"]
    assert closing.close_due() == []
    clock.shift(61)
    before = board(api, spring)
    assert closing.close_due() == [spring] and closing.close_due() == []
    assert orders.stored(resting)["reason"] == "competition_ended"
    assert not Balance.objects.filter(account_id=entry["account"], reserved__gt=0).exists()
    api.venue.order("bob SELL 1 AAPL @ 95")
    api.venue.trader("cat", USD=1000)
    api.venue.order("cat BUY 1 AAPL @ 95")
    assert board(api, spring) == before == [(1, "bob", "10000"), (2, "ann", "9999.5")]
    audit_is_clean()


def test_a_server_opens_when_what_ended_before_is_closed(api, contest, monkeypatch):
    """Whatever its services do later: what rests in an entry is not there for who comes first."""
    spring = contest(ends=60)
    resting = api("POST", ORDERS, BUY, headers=within(join(api, spring).json)).json["id"]
    clock.shift(61)
    idle = AsyncMock()
    for name in (
        "feed.run", "equity.run_snapshots", "closing.run", "positions_engine.run_updater",
        "positions_engine.run_engine", "clockwork.run",
    ):  # fmt: skip
        monkeypatch.setattr(f"config.background.{name}", idle)
    monkeypatch.setattr("config.background.gc", Mock())
    api.run(background.startup())
    try:
        assert orders.stored(resting)["reason"] == "competition_ended"
        assert api("GET", f"{V1}competitions/{spring.pk}/").json["status"] == "CLOSED"
    finally:
        api.run(background.shutdown())


def test_an_order_that_cannot_be_cancelled_keeps_no_round_open(api, contest):
    """What it has set aside is gone, by hand: nothing can give that back."""
    spring, autumn = contest(), contest(ends=60, name="Autumn")
    account = join(api, spring).json["account"]
    assert api("POST", ORDERS, BUY, headers=within(account)).status == 201
    competitions.disqualify(CompetitionEntry.objects.get())
    join(api, autumn)
    held = Balance.objects.filter(account_id=account, reserved__gt=0)
    pk, reserved = held.values_list("pk", "reserved").get()
    held.update(reserved=0)
    clock.shift(61)
    with pytest.raises(AssertionError, match="released more"):
        closing.look()
    autumn.refresh_from_db()
    assert competitions.status(autumn) == "CLOSED"
    Balance.objects.filter(pk=pk).update(reserved=reserved)
    closing.look()
    audit_is_clean()


def test_a_clock_that_is_behind_places_nothing_in_a_closed_round(api, contest):
    spring = contest(ends=60)
    entry = join(api, spring).json
    clock.shift(61)
    assert closing.close_due() == [spring]
    clock.shift(57)
    assert api("POST", ORDERS, BUY, headers=within(entry)).code == "competition_closed"


def test_an_end_that_is_put_off_while_it_is_being_closed(api, contest, monkeypatch):
    spring = contest(ends=60)
    entry = join(api, spring).json
    resting = api("POST", ORDERS, BUY, headers=within(entry)).json["id"]
    clock.shift(61)
    found = competitions.due()
    spring.ends_at += timedelta(hours=1)
    spring.save()
    competitions.apply_terms(spring)
    monkeypatch.setattr(competitions, "due", lambda: found)
    assert closing.close_due() == []
    assert orders.stored(resting)["status"] == "OPEN"
    assert api("POST", ORDERS, BUY, headers=within(entry)).status == 201


TAKEN_BACK = {
    "edited": lambda spring, entry: competitions.apply_terms(spring),
    "reinstated": lambda spring, entry: competitions.reinstate(entry),
}


@pytest.mark.parametrize("what", TAKEN_BACK)
def test_nothing_that_operators_do_opens_a_round_that_is_being_closed(api, contest, what):
    """One that waits for an order to be cancelled may be in that state for long."""
    spring = contest(ends=60)
    entry = join(api, spring).json
    row = CompetitionEntry.objects.get()
    if what == "reinstated":
        closing.disqualify(row)
    clock.shift(61)
    assert competitions.stop(spring) == [row.account_id]
    TAKEN_BACK[what](spring, row)
    clock.shift(57)
    assert api("POST", ORDERS, BUY, headers=within(entry)).code == "competition_closed"


def test_closing_an_order_in_a_halted_market(api, contest):
    spring = contest(ends=60)
    resting = api("POST", ORDERS, BUY, headers=within(join(api, spring).json)).json["id"]
    api.venue.change("AAPL", status="HALTED")
    clock.shift(61)
    assert closing.close_due() == [spring] and orders.stored(resting)["status"] == "CANCELLED"


def test_an_order_in_a_market_that_makes_no_sense_holds_up_no_other_competition(api, contest):
    spring, summer = contest(ends=60), contest("Summer", ends=60)
    sound = api.venue.market("AAPL_2", base="AAPL", quote="USD", tick_size=Decimal("0.01"), lot_size=Decimal(1))
    spring.markets.add(sound)
    entry = within(join(api, spring).json)
    resting, other = (
        api("POST", ORDERS, {**BUY, "symbol": symbol}, headers=entry).json["id"] for symbol in ("AAPL", "AAPL_2")
    )
    for tick in ("0.000000000000000001", "0.01"):
        row = Market.objects.get(symbol="AAPL")
        Market.objects.filter(pk=row.pk).update(tick_size=Decimal(tick), version=row.version + 1)
        markets.forget()
        clock.shift(61)
        assert closing.close_due() == [summer if tick != "0.01" else spring]
        assert orders.stored(other)["status"] == "CANCELLED", "what rests elsewhere does not wait with it"
    assert orders.stored(resting)["status"] == "CANCELLED"


def test_the_next_round(api, contest):
    spring = contest(ends=60)
    first = join(api, spring).json
    later = {"starts_at": clock.now() + timedelta(seconds=100), "ends_at": clock.now() + timedelta(seconds=200)}
    with pytest.raises(Refusal) as caught:
        competitions.next_round(competition=spring, **later)
    assert caught.value.code == "round_not_closed"
    clock.shift(61)
    closing.close_due()
    now = clock.now()
    for starts, ends in ((200, 100), (100, 100), (-20, -10)):
        starts_at, ends_at = (now + timedelta(seconds=seconds) for seconds in (starts, ends))
        with pytest.raises(Refusal, match="ends after it starts, and in the future"):
            competitions.next_round(competition=spring, starts_at=starts_at, ends_at=ends_at)
    assert competitions.next_round(competition=spring, **later) == 2
    second = api("GET", f"{V1}competitions/{spring.pk}/").json
    assert (second["round"], second["status"], second["entry"]["round"]) == (2, "UPCOMING", 2)
    assert second["entry"]["account"] != first["account"] and join(api, spring).status == 200
    clock.shift(101)
    replies = [api("POST", ORDERS, BUY, headers=within(account)) for account in (second["entry"], first)]
    assert [reply.status for reply in replies] == [201, 422]
    assert board(api, spring, "?round=1") == board(api, spring) == [(1, "ann", "10000")]
    assert api("GET", f"{V1}competitions/{spring.pk}/leaderboard/?round=3").status == 404


def test_operators_run_it(api, contest):
    boss = Browser()
    boss.force_login(
        User.objects.create_superuser("boss", password=PASSWORD), "django.contrib.auth.backends.ModelBackend"
    )
    spring = contest(ends=60)
    path = f"/admin/accounts/competition/{spring.pk}/"
    entered = boss.post(path + "enter", {"usernames": "Bob", "reason": "asked for it"})
    assert entered.status_code == 302 and CompetitionEntry.objects.get().user.username == "bob"
    soon = clock.now() + timedelta(seconds=1000)
    form = {
        "name": "Spring", "is_public": "on", "markets": Market.objects.get(symbol="BTC_USDT").pk,
        "starts_at_0": f"{spring.starts_at:%Y-%m-%d}", "starts_at_1": f"{spring.starts_at:%H:%M:%S}",
        "ends_at_0": f"{soon:%Y-%m-%d}", "ends_at_1": f"{soon:%H:%M:%S}",
    }  # fmt: skip
    assert boss.post(path + "change/", form).status_code == 302
    account = Account.objects.get(kind="SUB")
    assert account.market_ids == [int(form["markets"])] and abs(account.closes_at - soon) < timedelta(seconds=1)
    clock.shift(1001)
    closing.close_due()
    when = clock.now() + timedelta(days=1)
    times = {"starts_at_0": f"{when:%Y-%m-%d}", "starts_at_1": "10:00:00", "ends_at_0": f"{when:%Y-%m-%d}"}
    answer = boss.post(path + "next-round", {**times, "ends_at_1": "11:00:00", "reason": "again"})
    assert answer.status_code == 302 and Competition.objects.get().round == 2
    assert boss.get("/admin/accounts/competitionentry/").status_code == 200


@pytest.mark.parametrize(("amount", "is_taken"), [("1000", True), ("0.00000001", True), ("1.000000001", False)])
def test_the_capital_is_one_that_can_be_paid(venue, client, amount, is_taken):
    client.force_login(
        User.objects.create_superuser("boss", password=PASSWORD), "django.contrib.auth.backends.ModelBackend"
    )
    form = {
        "name": "Spring", "starting_asset": venue.assets["USD"].pk, "starting_amount": amount,
        "markets": Market.objects.get(symbol="AAPL").pk, "starts_at_0": "2030-01-01", "starts_at_1": "10:00:00",
        "ends_at_0": "2030-01-02", "ends_at_1": "10:00:00",
    }  # fmt: skip
    answer = client.post("/admin/accounts/competition/add/", form)
    assert (answer.status_code == 302) is is_taken
    assert is_taken or "Must be whole in USD" in answer.content.decode()


def audit_is_clean() -> None:
    assert [finding for finding in audit.run() if finding.violations] == []
