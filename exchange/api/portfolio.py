"""The portfolio's metrics, with the recent orders that only this floor knows."""

from drf_spectacular.utils import extend_schema
from rest_framework.response import Response

from accounts.api import portfolio
from exchange import orders
from exchange.api.shapes import OrderShape
from exchange.models import Order
from exchange.rendering import order_row

RECENT_ORDERS = 10


class TradingMetricsShape(portfolio.MetricsShape):
    """The figures, and the newest orders."""

    recent_orders = OrderShape(many=True)


class MetricsView(portfolio.MetricsView):
    """How trading went."""

    @extend_schema(
        operation_id="portfolio_metrics",
        summary="How your trading went",
        parameters=[portfolio.QuoteQuery],
        responses=TradingMetricsShape,
    )
    def get(self, request):
        rows = Order.objects.filter(account_id=request.auth.account_id).order_by("-id")[:RECENT_ORDERS]
        recent = [order_row(order, order.fills.all()) for order in orders.with_fills(rows)]
        return Response({**self.answer(request), "recent_orders": recent})
