"""Placing an order, the usual way."""

from django.db import transaction
from rest_framework import serializers, status
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.baseline.models import Balance, Market, Order, Trade


class OrderSerializer(serializers.ModelSerializer):
    symbol = serializers.SlugRelatedField(source="market", slug_field="symbol", queryset=Market.objects.all())

    class Meta:
        model = Order
        fields = ["id", "symbol", "side", "price", "quantity", "filled_quantity", "status", "created_at"]
        read_only_fields = ["id", "filled_quantity", "status", "created_at"]


class InsufficientFunds(Exception):
    pass


class OrdersView(APIView):
    def post(self, request):
        serializer = OrderSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            order = place_order(user=request.user, **serializer.validated_data)
        except InsufficientFunds:
            return Response({"detail": "Insufficient funds."}, status=status.HTTP_422_UNPROCESSABLE_ENTITY)
        return Response(OrderSerializer(order).data, status=status.HTTP_201_CREATED)


@transaction.atomic
def place_order(*, user, market, side, price, quantity):
    """Reserve, save, match, settle: one transaction. The market's lock keeps two orders from missing each other."""
    market = Market.objects.select_for_update().get(pk=market.pk)
    resting = list(opposite_orders(market, side, price, quantity))
    balances = lock_balances(market, {user.id, *(order.user_id for order in resting)})
    asset, amount = (market.quote, price * quantity) if side == "BUY" else (market.base, quantity)
    payer = balances[user.id, asset]
    if payer.available < amount:
        raise InsufficientFunds
    payer.available -= amount
    payer.reserved += amount
    payer.save()
    order = Order.objects.create(user=user, market=market, side=side, price=price, quantity=quantity)
    for maker in resting:
        execute(market, maker, order, balances)
    return order


def opposite_orders(market, side, price, quantity):
    """The resting orders that this one trades with, locked, best price first, oldest first at one price."""
    orders = Order.objects.select_for_update().filter(market=market, status="OPEN")
    if side == "BUY":
        orders = orders.filter(side="SELL", price__lte=price).order_by("price", "created_at", "id")
    else:
        orders = orders.filter(side="BUY", price__gte=price).order_by("-price", "created_at", "id")
    for order in orders.iterator(chunk_size=10):
        if quantity <= 0:
            return
        yield order
        quantity -= order.remaining


def lock_balances(market, users):
    """The balances of those users in both assets, locked by id so that two markets cannot deadlock."""
    rows = (
        Balance.objects.select_for_update().filter(user__in=users, asset__in=[market.base, market.quote]).order_by("id")
    )
    return {(row.user_id, row.asset): row for row in rows}


def execute(market, maker, taker, balances):
    """One trade at the maker's price; what a buyer reserved above it is given back."""
    quantity = min(maker.remaining, taker.remaining)
    buy, sell = (taker, maker) if taker.side == "BUY" else (maker, taker)
    Trade.objects.create(market=market, maker=maker, taker=taker, price=maker.price, quantity=quantity)
    for order in (maker, taker):
        order.filled_quantity += quantity
        if order.remaining == 0:
            order.status = "FILLED"
        order.save()
    paid = maker.price * quantity
    balances[buy.user_id, market.quote].reserved -= buy.price * quantity
    balances[buy.user_id, market.quote].available += buy.price * quantity - paid
    balances[buy.user_id, market.base].available += quantity
    balances[sell.user_id, market.base].reserved -= quantity
    balances[sell.user_id, market.quote].available += paid
    for user_id in (buy.user_id, sell.user_id):
        balances[user_id, market.quote].save()
        balances[user_id, market.base].save()
