"""Names count in any case and in any width, beyond ASCII too, and alike at every door."""

import sys
from importlib import import_module
from threading import Barrier, Thread

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from accounts import tokens
from accounts.models import User
from accounts.names import fold
from accounts.users import UsernameTaken, register
from tests.venue import PASSWORD

V1 = "/api/v1/"
#: A name, and other ways to write it.
WRITTEN = [
    ("alice", "ALICE"),
    ("Émile", "émile"),
    ("Émile", "E\u0301MILE"),
    ("Иван", "иван"),
    ("ｆｕｌｌ", "FULL"),
    ("straße", "STRASSE"),
    ("Σωκράτης", "ΣΩΚΡΆΤΗΣ"),
]


def post(api, path: str, name: str, password: str = PASSWORD):
    return api("POST", V1 + path, {"username": name, "password": password}, token=None)


@pytest.mark.parametrize(("name", "other"), WRITTEN)
def test_a_name_is_one_name_however_written(api, name, other):
    made = post(api, "register/", name)
    assert made.status == 201
    again = post(api, "register/", other)
    assert (again.status, again.code) == (409, "username_taken")
    for written in (name, other, made.json["username"]):
        pair = post(api, "token/", written)
        assert pair.status == 200, written
        assert api("GET", V1 + "me/", token=pair.json["access"]).json["id"] == made.json["id"]


def test_a_taken_name_is_not_left_to_the_database_to_refuse(venue):
    """Which logs what it refuses: with the hash of the password and the address."""
    register(username="ann", password=PASSWORD)
    with CaptureQueriesContext(connection) as asked, pytest.raises(UsernameTaken):
        register(username="ANN", password=PASSWORD)
    assert not [query for query in asked if query["sql"].startswith("INSERT")]


def test_what_is_folded_stays_as_it_is():
    """The migration counts on it: a name that folding changes is nobody's folded name."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isalnum()]
    assert not [character for character in characters if fold(fold(character)) != fold(character)]


def test_of_two_at_once_one_gets_the_name(venue):
    start, made = Barrier(2), []

    def run(name: str) -> None:
        start.wait()
        try:
            made.append(register(username=name, password=PASSWORD).username)
        except UsernameTaken:
            pass
        finally:
            connection.close()

    threads = [Thread(target=run, args=[name]) for name in ("Émile", "émile")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(made) == 1 and [user.username for user in User.objects.all()] == made


def test_the_lockout_is_of_the_name_however_written(api, settings):
    settings.RATE_LIMIT_LOGIN_FAILURES = "3/300"
    post(api, "register/", "ｆｕｌｌ")
    for written in ("ｆｕｌｌ", "FULL", "ＦＵＬＬ"):
        assert post(api, "token/", written, "wrong").status == 401
    assert post(api, "token/", "full").status == 429


@pytest.mark.parametrize("tail", ["a", "ß"])
def test_the_lockouts_of_long_names_are_apart(api, settings, tail):
    """The folded name may be longer than what was sent, and longer than what the table of failures keeps."""
    settings.RATE_LIMIT_LOGIN_FAILURES = "2/300"
    assert post(api, "register/", "ß" * 149 + "b").status == 201
    assert [post(api, "token/", "ß" * 149 + "b", "wrong").status for _ in range(2)] == [401, 401]
    assert post(api, "token/", "ß" * 149 + tail, "wrong").status == 401
    assert post(api, "token/", "ß" * 149 + "b").status == 429


class TestAdmin:
    def test_operators_log_in_in_any_case(self, api):
        User.objects.create_superuser("Иван", password=PASSWORD)
        sent = {"username": "ИВАН", "password": PASSWORD}
        assert Browser().post("/admin/login/", sent).status_code == 302

    def test_its_forms_see_that_a_name_is_taken(self, api):
        boss = User.objects.create_superuser("boss", password=PASSWORD)
        emile, ivan = [register(username=name, password=PASSWORD) for name in ("Émile", "Иван")]
        browser = Browser()
        browser.force_login(boss, "django.contrib.auth.backends.ModelBackend")
        sent = {"username": "ÉMILE", "email": "", "password1": PASSWORD, "password2": PASSWORD}
        answer = browser.post("/admin/accounts/user/add/", sent)
        assert answer.status_code == 200 and "already exists" in answer.content.decode()
        sent = {"is_active": "on", "accounts-TOTAL_FORMS": "0", "accounts-INITIAL_FORMS": "0"}
        for name, words in (("émile", "already exists"), ("ИВАН", "")):
            answer = browser.post(f"/admin/accounts/user/{ivan.pk}/change/", {**sent, "username": name})
            assert answer.status_code == (200 if words else 302) and words in answer.content.decode()
        assert sorted(User.objects.values_list("username", flat=True)) == sorted(
            ["boss", "Émile", "ИВАН", *api.tokens]
        )
        assert emile.accounts.count() == 1

    def test_a_renamed_user_logs_in_by_the_new_name_only(self, api):
        user = register(username="Émile", password=PASSWORD)
        user.username = "Zoé"
        user.save()
        assert post(api, "token/", "ZOÉ").status == 200
        assert post(api, "token/", "émile").status == 401
        assert post(api, "register/", "émile").status == 201

    def test_commands_find_names_too(self, venue):
        register(username="Émile", password=PASSWORD)
        call_command("add_capital", "émile", "USD", "5")
        with pytest.raises(CommandError, match="already taken"):
            call_command("createsuperuser", "--noinput", "--username", "émile", "--email", "e@example.org")


#: Users of before in the order in which they came, who is asked for, and whom that finds.
BEFORE = ["Émile", "émile", "Иван", "ИВАН", "alice", "ｆｕｌｌ", "σας", "ΣΑΣ", "σασ", "RENÉ", "rené"]
FOUND = {
    **{name: name for name in BEFORE},
    "ÉMILE": "émile",
    "иван": "Иван",
    "ALICE": "alice",
    "FULL": "ｆｕｌｌ",
    "René": "rené",
}


@pytest.fixture
def migrated(api):
    """A venue with users who were there before names had keys, of whom some have what is now the same name."""
    password = User.objects.get(username="ann").password
    for number, name in enumerate(BEFORE):
        user = User.objects.create(username=f"before{number}", password=password)
        User.objects.filter(pk=user.pk).update(username=name)
    with connection.schema_editor() as editor:
        import_module("accounts.migrations.0010_name_key").fill(apps, editor)
    return api


def test_who_was_there_before_is_told_apart(migrated, settings, subtests):
    with subtests.test("everybody still logs in"):
        for written, name in FOUND.items():
            assert User.objects.named(written).username == name, written
            assert tokens.log_in(username=written, password=PASSWORD)[1].username == name
        assert post(migrated, "token/", "ann").status == 200
    with subtests.test("nobody else gets such a name"):
        for name in (*BEFORE, *FOUND):
            assert post(migrated, "register/", name).status == 409, name
    with subtests.test("saving changes no key"):
        before = dict(User.objects.values_list("pk", "name_key"))
        for user in User.objects.all():
            user.full_clean()
            user.save()
        assert dict(User.objects.values_list("pk", "name_key")) == before
        assert len(set(before.values())) == len(before)
    with subtests.test("the right password of one does not end the count of the other"):
        settings.RATE_LIMIT_LOGIN_FAILURES = "2/300"
        assert post(migrated, "token/", "Émile", "wrong").status == 401
        assert post(migrated, "token/", "émile").status == 200
        assert post(migrated, "token/", "Émile", "wrong").status == 401
        assert post(migrated, "token/", "Émile").status == 429
        assert post(migrated, "token/", "émile").status == 200
