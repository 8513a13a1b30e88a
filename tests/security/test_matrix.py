"""Who may do what: every route of the URL configuration, by every kind of caller. A route or a method that the table
does not name fails.
"""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client as Browser
from django.urls import URLResolver, get_resolver
from rest_framework_simplejwt.tokens import AccessToken

from accounts import competitions, withdrawals
from accounts.models import Competition, User
from config.urls import urlpatterns
from marketdata import clock
from tests.margin.conftest import MarginVenue
from tests.margin.test_settlement import trade
from tests.security.bots import Bot
from tests.venue import PASSWORD

V1 = "api/v1/"
ACTORS = ("anonymous", "expired", "other", "staff", "read key", "trade key", "withdraw key", "user")
#: What each kind of route says to the actors in their order; ok is anything but 401, 403, 404, 405 and 5xx.
RULES = {
    "anybody": (200,) * len(ACTORS),
    "public": (200, 401, 200, 200, 200, 200, 200, 200),
    "person": (401, 401, 200, 200, 403, 403, 403, 200),
    "own, person": (401, 401, 404, 404, 403, 403, 403, 200),
    "read": (401, 401, 200, 200, 200, 403, 403, 200),
    "own, read": (401, 401, 404, 404, 200, 403, 403, 200),
    "trade": (401, 401, 200, 200, 403, 200, 403, 200),
    "own, trade": (401, 401, 404, 404, 403, 200, 403, 200),
    "withdraw": (401, 401, 200, 200, 403, 403, 200, 200),
    "own, withdraw": (401, 401, 404, 404, 403, 403, 200, 200),
    "entrants and staff, read": (401, 401, 404, 200, 200, 403, 403, 200),
    "entrants and staff, person": (401, 401, 404, 200, 403, 403, 403, 200),
    "staff": (401, 401, 403, 200, 403, 403, 403, 403),
    "nowhere": (404, 401, 404, 404, 404, 404, 404, 404),
}
LISTED = {"GET": "public"}
READ = {"GET": "read"}
ROUTES = {
    "": {},
    "favicon.ico/": {},
    "health/": {},
    "health/ready/": {},
    "metrics/": {},
    "api/schema/": LISTED,
    "api/docs/": LISTED,
    "^api/": {"GET": "nowhere", "POST": "nowhere"},
    V1 + "register/": {"POST": "anybody"},
    V1 + "token/": {"POST": "anybody"},
    V1 + "token/refresh/": {"POST": "anybody"},
    V1 + "token/blacklist/": {"POST": "anybody"},
    V1 + "me/": READ,
    V1 + "me/totp/": {"GET": "person", "POST": "person", "DELETE": "person"},
    V1 + "me/totp/confirm/": {"POST": "person"},
    V1 + "api-keys/": {"GET": "person", "POST": "person", "DELETE": "person"},
    V1 + "api-keys/<int:key_id>/": {"GET": "own, person", "DELETE": "own, person"},
    V1 + "competitions/": READ,
    V1 + "competitions/<int:competition_id>/": {"GET": "entrants and staff, read"},
    V1 + "competitions/<int:competition_id>/join/": {"POST": "entrants and staff, person"},
    V1 + "competitions/<int:competition_id>/leaderboard/": {"GET": "entrants and staff, read"},
    V1 + "wallet/": {"GET": "read", "POST": "person"},
    V1 + "wallet/withdraw/": {"POST": "withdraw"},
    V1 + "wallet/withdrawals/": READ,
    V1 + "wallet/withdrawals/<int:withdrawal_id>/": {"GET": "own, read", "DELETE": "own, withdraw"},
    V1 + "ledger/": READ,
    V1 + "holdings/": READ,
    V1 + "portfolio/summary/": READ,
    V1 + "portfolio/metrics/": READ,
    V1 + "portfolio/history/": READ,
    V1 + "events/": READ,
    V1 + "currencies/": LISTED,
    V1 + "assets/": LISTED,
    V1 + "markets/": LISTED,
    V1 + "markets/<str:symbol>/": LISTED,
    V1 + "candles/": LISTED,
    **{V1 + prefix + "/": LISTED for prefix in ("tickers", "stocks")},
    **{V1 + prefix + "/batch/": {"POST": "public"} for prefix in ("tickers", "stocks")},
    **{V1 + prefix + "/trending/": LISTED for prefix in ("tickers", "stocks")},
    **{V1 + prefix + "/<str:symbol>/": LISTED for prefix in ("tickers", "stocks")},
    V1 + "orders/": {"GET": "read", "POST": "trade", "DELETE": "trade"},
    V1 + "orders/list/": READ,
    V1 + "orders/batch/": {"POST": "trade"},
    V1 + "orders/<int:order_id>/": {
        "GET": "own, read", "PUT": "own, trade", "PATCH": "own, trade", "DELETE": "own, trade",
    },
    V1 + "orders/<int:order_id>/cancel/": {"POST": "own, trade"},
    V1 + "orders/<int:order_id>/replace/": {"POST": "trade"},
    V1 + "orders/lists/": {"GET": "read", "POST": "trade"},
    V1 + "orders/lists/<int:list_id>/": {"GET": "own, read", "DELETE": "own, trade"},
    V1 + "orderbook/": LISTED,
    V1 + "orderbook/<str:symbol>/": LISTED,
    V1 + "trades/": LISTED,
    V1 + "trades/<int:trade_id>/": LISTED,
    V1 + "trades/<int:trade_id>/settle/": {"POST": "staff"},
    V1 + "fills/": READ,
    V1 + "kill-switch/": {"GET": "read", "POST": "trade", "DELETE": "person"},
    V1 + "margin/": READ,
    V1 + "margin/check/": {"POST": "read"},
    V1 + "margin/leverage/": {"GET": "read", "PUT": "trade"},
    V1 + "positions/": READ,
    V1 + "positions/snapshot/": READ,
    V1 + "positions/close/": {"POST": "trade"},
    V1 + "positions/<int:position_id>/exit/": {"POST": "own, trade"},
    V1 + "sim/fill/": {"POST": "trade"},
}  # fmt: skip
PAGES = {"", "favicon.ico/", "health/", "health/ready/", "metrics/"}
#: Answers 404 to whatever it is asked.
EVERYTHING_ELSE = "^api/"
VERBS = ("get", "post", "put", "patch", "delete")
QUERIES = {V1 + "candles/": "?symbol=AAPL&interval=1m", V1 + "orderbook/": "?symbol=AAPL"}


def routes(patterns=urlpatterns, prefix: str = ""):
    """(path as written, its pattern) of every route."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        else:
            yield path, pattern


def methods(pattern) -> set[str]:
    view = getattr(pattern.callback, "cls", None)
    return {verb.upper() for verb in VERBS if hasattr(view, verb) and verb in view.http_method_names}


ALL = dict(routes())
API = {path: pattern for path, pattern in ALL.items() if not path.startswith("admin/")}


def test_every_route_and_method_is_in_the_table():
    assert get_resolver().url_patterns == urlpatterns
    found = {path: methods(pattern) for path, pattern in API.items() if path not in PAGES | {EVERYTHING_ELSE}}
    assert found == {path: set(stated) for path, stated in ROUTES.items() if path not in PAGES | {EVERYTHING_ELSE}}
    assert API.keys() == ROUTES.keys()


@pytest.fixture
def callers(api, bot):
    """A function that sends a request as each kind of caller. All objects of the routes are ann's."""
    User.objects.create_superuser("chief", password=PASSWORD)
    expired = AccessToken.for_user(User.objects.get(username="ann"))
    expired.set_exp(lifetime=timedelta(seconds=-1))
    staff = AccessToken.for_user(User.objects.get(username="chief"))
    tokens = {"anonymous": None, "user": api.token, "other": api.tokens["bob"], "expired": expired, "staff": staff}
    bots: dict[str, Bot] = {f"{word.lower()} key": bot(word) for word in ("READ", "TRADE", "WITHDRAW")}

    def send(actor: str, method: str, target: str):
        body = {"POST": {}, "PUT": {"quantity": "4"}, "PATCH": {"quantity": "4"}}.get(method)
        if actor in bots:
            return bots[actor](method, target, body)
        token = tokens[actor]
        return api(method, target, body, token=token and str(token))

    return send


@pytest.fixture
def things(api, bot) -> dict[str, str]:
    """What stands for the parts of paths: things of ann's, and public ones."""
    venue = api.venue
    ann = venue.accounts["ann"]
    traded = venue.order("bob SELL 1 AAPL @ 100"), venue.order("ann BUY 1 AAPL @ 100")
    fx = MarginVenue(venue)
    trade(fx, "ann", "BUY", "bob", "0.1", "EURUSD", "1.10000")
    now = clock.now()
    contest = Competition.objects.create(
        name="Private", starts_at=now, ends_at=now + timedelta(hours=1), starting_asset=venue.assets["USD"],
        starting_amount=100, is_public=False,
    )  # fmt: skip
    competitions.enter(competition=contest, user=ann.user)
    return {
        "order_id": venue.order("ann BUY 9 AAPL @ 98")["id"],
        "list_id": venue.bracket("ann BUY 1 AAPL @ 97", profit=101, stop=95)[0]["list_id"],
        "trade_id": traded[1]["fills"][0]["trade_id"],
        "symbol": "AAPL",
        "key_id": bot("READ").made["id"],
        "withdrawal_id": withdrawals.request(account=ann, asset=venue.assets["USD"], amount=Decimal(5)).pk,
        "competition_id": contest.pk,
        "position_id": fx.last("ann", "EURUSD").pk,
    }


READING = [path for path, stated in ROUTES.items() if stated.keys() == {"GET"}]
CHANGING = [path for path, stated in ROUTES.items() if stated and path not in READING]


def test_who_may_read_what(callers, things):
    assert len(READING) > 25
    assert [mistakes for route in READING if (mistakes := mistakes_at(route, callers, things))] == []


@pytest.mark.parametrize("route", CHANGING)
def test_who_may_do_what(route, callers, things):
    assert mistakes_at(route, callers, things) == {}


def mistakes_at(route, callers, things) -> dict[tuple[str, str, str], tuple[int, int]]:
    """By route, method and actor: the status that was answered, and the one that the table names."""
    path = "nothing" if route == EVERYTHING_ELSE else re.sub(r"<\w+:(\w+)>", lambda part: str(things[part[1]]), route)
    target = "/api/nothing/" if route == EVERYTHING_ELSE else f"/{path}{QUERIES.get(route, '')}"
    wrong = {}
    for method, rule in ROUTES[route].items():
        for actor, expected in zip(ACTORS, RULES[rule], strict=True):
            if route in ("api/schema/", "api/docs/") and actor == "expired":
                expected = 200  # these look at no token
            status = callers(actor, method, target).status
            said = 200 if status < 400 or status in (400, 409, 422) else status
            if said != expected:
                wrong[route, method, actor] = (status, expected)
    return wrong


# Pages


@pytest.mark.parametrize("path", sorted(PAGES))
def test_pages_are_for_everybody(api, path):
    assert api("GET", f"/{path}", token=None).status < 400


ADMIN = [path for path in ALL if path.startswith("admin/")]
OPEN_TO_ALL = {"admin/login/", "admin/logout/"}
#: What a member of staff without any permission gets to see: nothing about anybody else.
OPEN_TO_STAFF = {"admin/", "admin/password_change/", "admin/password_change/done/", "admin/jsi18n/", "admin/search/"}


def written(path: str) -> str:
    """A path of a route of the admin that somebody could ask for."""
    return "/" + re.sub(r"\(\?P<\w+>.*", "anything", re.sub(r"<[^>]*>", "1", path)).replace("^", "").rstrip("$")


def test_the_admin_is_for_staff(api):
    ann, clerk = Browser(), Browser()
    backend = "django.contrib.auth.backends.ModelBackend"
    ann.force_login(User.objects.get(username="ann"), backend)
    clerk.force_login(User.objects.create_user("clerk", password=PASSWORD, is_staff=True), backend)
    assert len(ADMIN) > 50
    wrong = {}
    for path in ADMIN:
        for name, browser in (("anonymous", Browser()), ("user", ann)):
            answer = browser.get(written(path))
            is_sent_away = answer.status_code == 302 and "/admin/login/" in answer["Location"]
            if not is_sent_away and path not in OPEN_TO_ALL:
                wrong[name, path] = answer.status_code
        answer = clerk.get(written(path))
        if answer.status_code == 200 and path not in OPEN_TO_STAFF or answer.status_code >= 500:
            wrong["clerk", path] = answer.status_code
    assert not wrong
