"""What a teacher does with a whole class on the operators' pages: enters it, watches who leads, reads the result."""

import re

import pytest
from django.test import Client

from accounts.models import Account, Competition, CompetitionEntry, User
from exchange import closing
from marketdata import clock
from tests.venue import PASSWORD

PICKERS = ("admin/js/admin/DateTimeShortcuts.js", "/admin/jsi18n/")


@pytest.fixture
def boss(venue) -> Client:
    client = Client()
    client.force_login(
        User.objects.create_superuser("boss", password=PASSWORD), "django.contrib.auth.backends.ModelBackend"
    )
    return client


def cells(page: str) -> list[list[str]]:
    """What the rows of the page's table say."""
    rows = [re.findall(r"<td.*?</td>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in rows if row]


def test_a_class_is_entered_at_once(api, contest, boss):
    api.venue.trader("cid")
    page = f"/admin/accounts/competition/{contest().pk}/enter"
    for names, words in [
        ("ann, zoe\nbob yan", "There are no such users: zoe, yan."),
        (" ,\n", "required"),
    ]:
        answer = boss.post(page, {"usernames": names, "reason": "7b"})
        assert answer.status_code == 400 and words in answer.content.decode()
        assert not CompetitionEntry.objects.exists()
    for names in ("Ann", "ann, BOB\r\ncid;ann"):  # who is in it already stays as they are
        assert boss.post(page, {"usernames": names, "reason": "7b"}).status_code == 302
    entries = CompetitionEntry.objects.values_list("user__username", flat=True)
    assert sorted(entries) == ["ann", "bob", "cid"] and Account.objects.filter(kind="SUB").count() == 3


def test_the_ranking_is_shown_while_it_runs_and_afterwards(api, contest, boss):
    spring = contest(ends=60)
    path = f"/admin/accounts/competition/{spring.pk}/"
    assert "Nobody takes part" in boss.get(path + "ranking").content.decode()
    boss.post(path + "enter", {"usernames": "ann bob", "reason": "7b"})
    running = boss.get(path + "ranking")
    assert running.status_code == 200
    assert cells(running.content.decode()) == [["1", name, "10000", "0", ""] for name in ("ann", "bob")]
    entry = CompetitionEntry.objects.get(user__username="ann")
    boss.post(f"/admin/accounts/competitionentry/{entry.pk}/disqualify", {"reason": "two names"})
    clock.shift(61)
    closing.close_due()
    over = cells(boss.get(path + "ranking").content.decode())
    assert over == [["1", "bob", "10000", "0", ""], ["–", "ann", "10000", "0", "disqualified"]]
    assert path + "ranking" in boss.get(path + "change/").content.decode()
    Competition.objects.update(round=2)
    assert cells(boss.get(path + "ranking?round=1").content.decode()) == over
    assert "Nobody takes part" in boss.get(path + "ranking").content.decode()
    for wrong in ("0", "3", "x"):
        assert boss.get(f"{path}ranking?round={wrong}").status_code == 404


def test_a_page_of_a_competition_says_in_which_zone_its_times_are_and_plain_amounts(api, contest, boss):
    path = f"/admin/accounts/competition/{contest().pk}/"
    for names in ("", "ann"):  # to be edited, and fixed once somebody has joined
        boss.post(path + "enter", {"usernames": names, "reason": "7b"})
        shown = boss.get(path + "change/").content.decode()
        assert "10000" in shown and not re.search(r"\d\.\d*0{7}\b", shown)
    for page in (path + "change/", path + "next-round", "/admin/accounts/competition/"):
        shown = re.sub(r"\s+", " ", boss.get(page).content.decode())
        assert "Starts at (UTC)" in shown and "Ends at (UTC)" in shown, page
        # What puts a calendar and a clock beside the fields, and its words.
        assert page.endswith("competition/") or all(script in shown for script in PICKERS), page
