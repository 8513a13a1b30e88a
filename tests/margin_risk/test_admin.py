"""The operators' pages of margin: each opens, shows exact figures, and changes nothing."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.urls import reverse

from accounts.models import FinancingCharge, Rollover, User
from config import readiness
from exchange import financing
from exchange.models import Liquidation, MarginCall, RiskStop
from marketdata import clock
from marketdata.models import Mark, Quote

MODELS = [Mark, MarginCall, Liquidation, RiskStop, Rollover, FinancingCharge]


def url(model, page: str, *arguments) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("chief", password="unused-by-force-login"))
    return client


def test_every_page_opens_and_shows_what_happened(venue, operator):
    venue.terms("EURUSD", is_quoted=True, exposure_limit_lots=500, financing_long_rate=Decimal("0.036"))
    venue.quote("EURUSD", "1.10000", "1.10000")
    venue.tick()
    venue.order("ann BUY 0.5 EURUSD MARKET")
    venue.trade("bob", "BUY", "rich", "4", "GBPUSD", "1.25000")
    venue.order("rich BUY 10 GBPUSD @ 1.20000")
    venue.mark("GBPUSD", "1.21000")
    venue.watch()
    clock.stand(clock.now() + timedelta(days=7))
    financing.post_due()
    pages = {model: operator.get(url(model, "changelist")).content.decode() for model in MODELS}
    for model in MODELS:
        row = model.objects.order_by("-pk").first()
        assert operator.get(url(model, "change", row.pk)).status_code == 200, model
        assert operator.get(url(model, "add")).status_code == 403, model
        assert operator.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403, model
    for model, shown in ((Mark, "-0.5"), (Liquidation, "Everything closed"), (RiskStop, "EURUSD, GBPUSD")):
        assert shown in " ".join(pages[model].split()), (model, shown)


@pytest.mark.parametrize("seconds", [0, 3600])
def test_the_state_of_a_price_is_what_others_go_by(venue, operator, seconds):
    """One that was noted by a clock that has been put back by an hour since is stale."""
    clock.shift(seconds)
    venue.quote("EURUSD", "1.10000", "1.10000")
    venue.mark("EURUSD", "1.10000")
    clock.shift(0)
    for row in (Mark.objects.get(market__symbol="EURUSD"), Quote.objects.get()):
        shown = operator.get(url(type(row), "change", row.pk)).content.decode()
        assert (">stale<" in shown.replace(" ", "").replace("\n", "")) == bool(seconds), shown
    assert readiness._feeds() == ("1 of 1 stale" if seconds else "ok")
