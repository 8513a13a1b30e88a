"""What a teacher does with a whole class on the operators' pages: enters it, watches who leads, reads the result."""

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
