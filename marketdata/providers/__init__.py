"""Price providers by name, made from the settings.

A provider without its key raises KeyMissing when it is made; the venue runs on without it.
"""

from django.conf import settings

from marketdata.providers import alltick, twelve_data
from marketdata.providers.alltick import AllTick
from marketdata.providers.limits import Clock
from marketdata.providers.protocol import KeyMissing, PriceProvider
from marketdata.providers.synthetic import Synthetic
from marketdata.providers.twelve_data import TwelveData
from marketdata.providers.yfinance import YFinance


def make(name: str, clock: Clock) -> PriceProvider:
    """The provider of that name (`marketdata.models.PriceSource.Provider`). KeyMissing, KeyError."""
    return MAKERS[name](clock)


def _key(name: str) -> str:
    key = getattr(settings, name)
    if not key:
        raise KeyMissing(f"{name} is not set")
    return key


def _synthetic(clock: Clock) -> Synthetic:
    return Synthetic(clock=clock, seed=settings.SIMULATOR_SEED)


def _twelve_data(clock: Clock) -> TwelveData:
    return TwelveData(
        key=_key("TWELVE_DATA_API_KEY"),
        clock=clock,
        base_rest=settings.TWELVE_DATA_BASE_REST or twelve_data.BASE_REST,
        base_ws=settings.TWELVE_DATA_BASE_WS or twelve_data.BASE_WS,
        per_minute=settings.TWELVE_DATA_CREDITS_PER_MINUTE,
        per_day=settings.TWELVE_DATA_CREDITS_PER_DAY,
    )


def _alltick(clock: Clock) -> AllTick:
    return AllTick(
        key=_key("ALLTICK_API_KEY"),
        clock=clock,
        base_rest=settings.ALLTICK_BASE_REST or alltick.BASE_REST,
        base_ws=settings.ALLTICK_BASE_WS or alltick.BASE_WS,
        plan=settings.ALLTICK_PLAN,
    )


def _yfinance(clock: Clock) -> YFinance:
    return YFinance(clock=clock)


MAKERS = {"SYNTHETIC": _synthetic, "TWELVE_DATA": _twelve_data, "ALLTICK": _alltick, "YFINANCE": _yfinance}
