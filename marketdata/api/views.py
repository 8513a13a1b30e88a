"""Assets and markets over REST."""

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from marketdata import clock, contracts, hours, markets, marks, units
from marketdata.api import shapes
from marketdata.calendar import CLOSED
from marketdata.models import Asset, Market
from marketdata.rules import hours_row, session_row
from marketdata.units import plain


class AssetListView(ListAPIView):
    """What can be owned."""

    permission_classes = [AllowAny]
    queryset = Asset.objects.filter(is_active=True).order_by("symbol")

    @extend_schema(operation_id="currencies_list", summary="Assets", responses=shapes.AssetShape(many=True))
    def get(self, request, *args, **kwargs):
        return self.get_paginated_response([asset_row(asset) for asset in self.paginate_queryset(self.get_queryset())])


class AssetAliasView(AssetListView):
    """assets/: the same."""

    @extend_schema(
        operation_id="assets_list",
        summary="Assets",
        description="The same as currencies/.",
        responses=shapes.AssetShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        return super().get(request, *args, **kwargs)


class MarketListView(ListAPIView):
    """What is traded."""

    permission_classes = [AllowAny]
    queryset = Market.objects.select_related(*markets.SPEC_RELATIONS).order_by("symbol")

    def get_queryset(self):
        """Those that can be found by their symbols, so that none is listed and then unknown."""
        return super().get_queryset().filter(pk__in=[spec.id for spec in markets.active()])

    @extend_schema(
        operation_id="markets_list",
        summary="Markets",
        description="The active markets with their filters and last price.",
        responses=shapes.MarketShape(many=True),
    )
    def get(self, request, *args, **kwargs):
        return self.get_paginated_response(
            [market_row(market) for market in self.paginate_queryset(self.get_queryset())]
        )


class MarketView(APIView):
    """One market, by its symbol or by base and quote together."""

    permission_classes = [AllowAny]

    @extend_schema(operation_id="markets_read", summary="One market", responses=shapes.MarketShape)
    def get(self, request, symbol: str):
        spec = markets.by_symbol(symbol)
        return Response(market_row(Market.objects.select_related(*markets.SPEC_RELATIONS).get(pk=spec.id)))


def asset_row(asset: Asset) -> dict:
    """An asset as the wire shows it."""
    return {"symbol": asset.symbol, "name": asset.name, "kind": asset.kind, "decimals": asset.decimals}


def market_row(market: Market) -> dict:
    """A market (with its assets loaded) as the wire shows it."""
    session = session_row(market, clock.now())
    contract = contract_row(market) if hasattr(market, "contract") else None
    if contract is not None and not contract["is_open_now"]:
        session["phase"] = CLOSED
    return {
        "symbol": market.symbol,
        "base": market.base.symbol,
        "quote": market.quote.symbol,
        "kind": market.kind,
        "status": _status(market, session),
        "tick_size": plain(market.tick_size),
        "lot_size": plain(market.lot_size),
        "min_quantity": plain(market.min_quantity or market.lot_size),
        "max_quantity": plain(market.max_quantity),
        "min_notional": plain(market.min_notional),
        "price_band": None if market.price_band is None else plain(market.price_band),
        "maker_fee": plain(market.maker_fee),
        "taker_fee": plain(market.taker_fee),
        "max_open_orders": market.max_open_orders,
        "max_notional": None if market.max_notional is None else plain(market.max_notional),
        "volatility_band": None if market.volatility_band is None else plain(market.volatility_band),
        "settlement_days": market.settlement_days,
        "hours": hours_row(market),
        "session": session,
        "last_price": None if market.last_price is None else plain(market.last_price),
        "last_price_updated_at": None
        if market.last_price_updated_at is None
        else clock.text(market.last_price_updated_at),
        "contract": contract,
    }


def _status(market: Market, session: dict) -> str:
    """The operators' word; CLOSED while an open market is outside its hours."""
    is_closed = session["phase"] == CLOSED
    return Market.Status.CLOSED.value if is_closed and market.status == Market.Status.OPEN else market.status


def contract_row(market: Market) -> dict:
    """A margin market's terms as the wire shows them."""
    contract, mark = market.contract, marks.mark(market.id)
    spec = contracts.spec_of(contract)
    return {
        "contract_size": plain(contract.contract_size),
        "settlement_asset": contract.settlement.symbol,
        "max_leverage": contract.max_leverage,
        "tiers": [tier_row(tier, spec.settlement_decimals) for tier in spec.tiers],
        "is_reduce_only": contract.is_reduce_only,
        "is_open_now": hours.is_open(spec.schedule, clock.now()),
        "hours_zone": contract.hours_zone,
        "hours": contract.hours,
        "holidays": contract.holidays,
        "financing_long_rate": plain(contract.financing_long_rate),
        "financing_short_rate": plain(contract.financing_short_rate),
        "triple_day": contract.triple_day,
        "rollover_time": contract.rollover_time.isoformat("minutes"),
        "rollover_zone": contract.rollover_zone,
        "mark_price": plain(mark.price) if mark else None,
        "mark_is_stale": mark.is_stale if mark else True,
    }


def tier_row(tier: contracts.Tier, decimals: int) -> dict:
    rates = {name: units.text(getattr(tier, name), contracts.RATE_DECIMALS) for name in ("initial", "maintenance")}
    return {"up_to": None if tier.up_to is None else units.text(tier.up_to, decimals), **rates}
