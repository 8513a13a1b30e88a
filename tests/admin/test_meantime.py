"""An operator's edit changes what the operator changed, whatever else has changed since the page was opened."""

import json
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from threading import Thread

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client

from accounts import competitions
from accounts.models import Competition, User
from marketdata import clock
from marketdata.models import Contract, Market, PriceSource, TradingCalendar
from tests.admin.test_pages import text, url
from tests.margin.conftest import MarginVenue
from tests.venue import PASSWORD


class Page(HTMLParser):
    """What a browser sends back of a page that nobody has touched."""

    def __init__(self, page: str):
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self._select = self._area = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        found = {"value": "", "type": "text", **dict(attrs)}
        name = found.get("name")
        if tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in found:
            self.sent.setdefault(self._select, []).append(found["value"] or "")
        elif tag == "textarea" and name:
            self._area = name
            self.sent[name] = [""]
        elif tag == "input" and name and found["type"] not in ("submit", "file", "button"):
            if found["type"] != "checkbox" or "checked" in found:
                value = found["value"] or ("on" if found["type"] == "checkbox" else "")
                self.sent.setdefault(name, []).append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._area:
            self.sent[self._area][0] += data.removeprefix("\n") if not self.sent[self._area][0] else data


def opened(browser: Client, row: Model) -> dict[str, list[str]]:
    return Page(text(browser.get(url(type(row), "change", row.pk)))).sent


def submit(browser: Client, row: Model, sent: dict, **edit) -> None:
    """The page with that edit; None is a box that was unticked."""
    left = {name: value for name, value in {**sent, **edit}.items() if value is not None}
    answer = browser.post(url(type(row), "change", row.pk), left)
    assert answer.status_code == 302, text(answer)


def person(venue) -> User:
    return venue.trader("ann").user


def euro(venue) -> Contract:
    return Contract.objects.get(market__symbol="EURUSD")


def apple(venue) -> Market:
    return Market.objects.get(symbol="AAPL")


def contest(venue) -> Competition:
    now = clock.now().replace(microsecond=0)
    row = Competition.objects.create(
        name="Spring", starts_at=now - timedelta(hours=2), ends_at=now - timedelta(hours=1),
        starting_asset=venue.assets["USD"], starting_amount=100,
    )  # fmt: skip
    row.markets.set([apple(venue)])
    return row


def source(venue) -> PriceSource:
    return PriceSource.objects.create(market=apple(venue), provider_symbol="AAPL@180")


#: A row, what an operator edits of it, and what is done to it meanwhile.
CASES = {
    "user": (person, {"email": "ann@example.com"}, {"is_active": False, "password": "!"}),
    "staff": (person, {"first_name": "Ann"}, {"is_superuser": True, "is_staff": True}),
    "account": (lambda venue: venue.trader("ann"), {"name": "ann's"}, {"is_active": False, "stopped_by": "OWNER"}),
    "market": (apple, {"max_open_orders": 7}, {"is_active": False, "status": "HALTED", "auction_seconds": 9}),
    "asset": (lambda venue: venue.assets["BTC"], {"name": "Coin"}, {"is_active": False, "kind": "METAL"}),
    "contract": (euro, {"max_leverage": 7}, {"is_reduce_only": True, "is_quoted": True, "mark_source": "BOOK"}),
    "source": (source, {"provider_symbol": "AAPL@190"}, {"is_active": False, "provider": "ALLTICK"}),
    "competition": (contest, {"name": "Summer"}, {"is_public": False, "round": 2, "closed_round": 1}),
}  # fmt: skip


def stored(row: Model, names: dict) -> dict:
    return type(row).objects.values(*names).get(pk=row.pk)


@pytest.fixture
def margin(venue) -> MarginVenue:
    return MarginVenue(venue)


def in_between(monkeypatch, row: Model, change: Callable[[], object]) -> None:
    """Do that after the row was read for an edit, and before it is saved."""
    page = admin.site._registry[type(row)]
    save = page.save_model

    def save_later(*args) -> None:
        change()
        save(*args)

    monkeypatch.setattr(page, "save_model", save_later)


@pytest.mark.parametrize("case", CASES)
def test_what_changes_while_an_edit_is_saved_stays(margin, operator, monkeypatch, case):
    make, edit, meanwhile = CASES[case]
    row = make(margin)
    sent = opened(operator, row)
    in_between(monkeypatch, row, lambda: type(row).objects.filter(pk=row.pk).update(**meanwhile))
    submit(operator, row, sent, **edit)
    assert stored(row, edit | meanwhile) == edit | meanwhile


@pytest.mark.parametrize("case", CASES)
def test_a_page_from_before_changes_nothing_else(margin, operator, case):
    """And only what was edited stands in the log."""
    make, edit, meanwhile = CASES[case]
    row = make(margin)
    sent = opened(operator, row)
    type(row).objects.filter(pk=row.pk).update(**meanwhile)
    submit(operator, row, sent, **edit)
    assert stored(row, edit | meanwhile) == edit | meanwhile
    said = json.loads(LogEntry.objects.get(object_id=row.pk).change_message)
    assert [len(one["changed"]["fields"]) for one in said] == [len(edit)]


def test_a_page_from_before_can_throw_the_switch_itself(margin, operator):
    """Also the other way than somebody else has thrown it by now, and after it was sent with a mistake in it."""
    contract = euro(margin)
    sent = opened(operator, contract)
    answer = operator.post(url(Contract, "change", contract.pk), {**sent, "is_reduce_only": "on", "max_leverage": "0"})
    assert answer.status_code == 200
    again = Page(text(answer)).sent
    Contract.objects.update(is_quoted=True)
    submit(operator, contract, again, max_leverage="7")
    wanted = {"is_reduce_only": True, "is_quoted": True, "max_leverage": 7}
    assert stored(contract, wanted) == wanted
    sent = opened(operator, contract)
    submit(operator, contract, sent, is_reduce_only=None)
    submit(operator, contract, sent, is_reduce_only=None, max_leverage=9)
    assert stored(contract, wanted) == {**wanted, "is_reduce_only": False, "max_leverage": 9}


def test_a_page_from_before_gives_no_group_back(margin, operator):
    ann, group = person(margin), Group.objects.create(name="clerks")
    ann.groups.add(group)
    sent = opened(operator, ann)
    ann.groups.clear()
    submit(operator, ann, sent, email="ann@example.com")
    assert not ann.groups.exists()
    submit(operator, ann, opened(operator, ann), groups=[group.pk])
    assert ann.groups.get() == group


def test_the_next_round_keeps_its_times_under_a_page_of_the_last_one(margin, operator):
    spring = contest(margin)
    sent = opened(operator, spring)
    assert competitions.close(spring)
    starts, ends = clock.now() + timedelta(hours=1), clock.now() + timedelta(hours=2)
    competitions.next_round(competition=spring, starts_at=starts, ends_at=ends)
    submit(operator, spring, sent, name="Summer")
    wanted = {"name": "Summer", "round": 2, "closed_round": 1, "starts_at": starts, "ends_at": ends}
    assert stored(spring, wanted) == wanted
    # A time that was edited counts also when the form comes back for a mistake in another field.
    sent = opened(operator, spring)
    answer = operator.post(url(Competition, "change", spring.pk), {**sent, "name": "", "ends_at_0": "2040-02-03"})
    assert answer.status_code == 200
    submit(operator, spring, Page(text(answer)).sent, name="Autumn")
    spring.refresh_from_db()
    assert (spring.name, spring.ends_at.year, spring.starts_at) == ("Autumn", 2040, starts)


#: An edit that what happens meanwhile could make wrong, and whose row is held for it.
HOLDING = {
    "no round begins and nobody joins": (contest, {"name": "Summer"}, Competition, "Spring"),
    "no first order comes at the old tick": (apple, {"tick_size": "0.1"}, Market, "AAPL"),
    "no first order comes of the old size": (euro, {"contract_size": "1000"}, Market, "EURUSD"),
}


@pytest.mark.parametrize("case", HOLDING)
def test_an_edit_holds_what_it_was_checked_against(margin, operator, monkeypatch, case):
    """From the look at the row to its save."""
    make, edit, model, name = HOLDING[case]
    row, found = make(margin), []
    held = model.objects.get(**{"name" if model is Competition else "symbol": name})

    def look() -> None:
        with transaction.atomic():
            found.append(len(model.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=held.pk)))
        connection.close()

    def look_from_elsewhere() -> None:
        thread = Thread(target=look)
        thread.start()
        thread.join()

    in_between(monkeypatch, row, look_from_elsewhere)
    submit(operator, row, opened(operator, row), **edit)
    look_from_elsewhere()
    assert found == [0, 1]


def dollar(venue) -> Market:
    return Market.objects.get(symbol="EURUSD")


#: Of two pages that are sent at once the one that waits for the market, and what the other has made of it by then.
CROSSED = [
    (euro, {"contract_size": "0.1"}, Contract.clean, (Market, {"tick_size": "0.000001"})),
    (dollar, {"tick_size": "0.000001"}, Market.has_history, (Contract, {"contract_size": "0.1"})),
]


@pytest.mark.parametrize(("make", "edit", "waiting", "other"), CROSSED)
def test_tick_and_size_are_checked_against_each_other_as_they_are_by_then(
    margin, operator, monkeypatch, make, edit, waiting, other
):
    Contract.objects.update(contract_size=1)
    row, (changed, by_then) = make(margin), other

    def wait(self):
        monkeypatch.undo()
        changed.objects.update(**by_then)
        return waiting(self)

    sent = opened(operator, row)
    monkeypatch.setattr(type(row), waiting.__name__, wait)
    answer = operator.post(url(type(row), "change", row.pk), {**sent, **edit})
    assert answer.status_code == 200 and "must be whole in USD" in text(answer)


def test_a_new_name_takes_its_key_along(margin, operator):
    ann = margin.trader("ann").user
    submit(operator, ann, opened(operator, ann), username="Änne")
    assert User.objects.named("ÄNNE") == ann and User.objects.named("ann") is None


@pytest.mark.parametrize("page", ["/admin/accounts/user/{}/password/", "/admin/password_change/"])
def test_a_new_password_switches_nobody_on_again(margin, operator, monkeypatch, page):
    """It takes a while to hash."""
    user = margin.trader("ann").user if "{}" in page else User.objects.get(username="operator")
    names = ("password1", "password2", "new_password1", "new_password2")
    sent = {"old_password": PASSWORD, "usable_password": "true"} | dict.fromkeys(names, "other-horse-battery")
    assert operator.get(page.format(user.pk)).status_code == 200
    hashed = User.set_password

    def hash_slowly(self, raw) -> None:
        User.objects.filter(pk=user.pk).update(is_active=False, email="new@example.com")
        hashed(self, raw)

    monkeypatch.setattr(User, "set_password", hash_slowly)
    assert operator.post(page.format(user.pk), sent).status_code == 302
    user.refresh_from_db()
    assert (user.is_active, user.email, user.check_password("other-horse-battery")) == (False, "new@example.com", True)


def test_the_rows_of_a_calendar_keep_what_nobody_touched_there(venue, operator):
    calendar = TradingCalendar.objects.create(name="hours")
    for weekday in (0, 1):
        calendar.hours.create(weekday=weekday, opens="09:30", closes="16:00")
    gone = calendar.holidays.create(day="2026-12-24")
    sent = opened(operator, calendar)
    assert sent["hours-0-opens"] == ["09:30:00"]
    monday, tuesday = calendar.hours.all()
    monday.opens, monday.pre_open = "10:00", "09:00"
    monday.save()
    tuesday.closes = "13:00"
    tuesday.save()
    submit(operator, calendar, sent, **{"hours-0-closes": "17:00", "holidays-0-DELETE": "on"})
    rows = calendar.hours.values_list("pre_open", "opens", "closes")
    shown = [tuple(moment and f"{moment:%H:%M}" for moment in row) for row in rows]
    assert shown == [("09:00", "10:00", "17:00"), (None, "09:30", "13:00")]
    assert not calendar.holidays.filter(pk=gone.pk).exists()
    add = {"holidays-TOTAL_FORMS": "1", "holidays-0-day": "2026-12-25", "holidays-0-closes_early": ""}
    submit(operator, calendar, opened(operator, calendar), **add)
    assert str(calendar.holidays.get().day) == "2026-12-25"
    twice = {"hours-1-weekday": "0"}
    answer = operator.post(url(TradingCalendar, "change", calendar.pk), {**opened(operator, calendar), **twice})
    assert answer.status_code == 200 and calendar.hours.count() == 2
