"""What a teacher does with a whole class on the operators' pages: enters it, watches who leads, reads the result."""

import re

import pytest
from django.test import Client

from accounts.models import Account, CompetitionEntry, User
from tests.venue import PASSWORD


@pytest.fixture
def boss(venue) -> Client:
    client = Client()
    client.force_login(
        User.objects.create_superuser("boss", password=PASSWORD), "django.contrib.auth.backends.ModelBackend"
    )
    return client


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


def test_a_page_of_a_competition_says_in_which_zone_its_times_are_and_plain_amounts(api, contest, boss):
    path = f"/admin/accounts/competition/{contest().pk}/"
    for names in ("", "ann"):  # to be edited, and fixed once somebody has joined
        boss.post(path + "enter", {"usernames": names, "reason": "7b"})
        shown = boss.get(path + "change/").content.decode()
        assert "10000" in shown and not re.search(r"\d\.\d*0{7}\b", shown)
    for page in (path + "change/", path + "next-round", "/admin/accounts/competition/"):
        shown = re.sub(r"\s+", " ", boss.get(page).content.decode())
        assert "Starts at (UTC)" in shown and "Ends at (UTC)" in shown, page
