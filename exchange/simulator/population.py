"""Who takes part in a simulated market, and their money.

Each market has a house account of kind MARKET_MAKER of its own, so that markets do not wait for each other's locks;
the others are users without a usable password, who trade in all markets from their main accounts. Their money
is deposited like anybody's, with a reason, and topped up when it runs low: what the simulation hands to real traders
stays visible in the ledger.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection, transaction

from accounts import transfers
from accounts.models import Account, Balance, User
from accounts.users import main_account
from exchange.simulator.agents import Agent, typical_lots
from exchange.simulator.makers import MarketMaker
from exchange.simulator.takers import Institution, MomentumTrader, NoiseTrader, ReversionTrader
from marketdata import units
from marketdata.markets import MarketSpec
from marketdata.models import Asset

#: Whoever makes accounts holds this advisory lock: no constraint says that there is one market maker per market.
CASTING_LOCK = 0x63617374
REASON = "simulator funds"
#: What each kind holds of base and quote, in typical orders; topped up below the half.
HOUSE_ORDERS, INSTITUTION_ORDERS, OTHER_ORDERS = 2000, 600, 200
#: Username, what it does, and what it holds. Hasty and patient ones: together their orders live from moments to hours.
TRADERS: tuple[tuple[str, Callable[[], Agent], int], ...] = (
    ("maker1", lambda: MarketMaker(levels=1, size=3, fineness=3, attention=0.4, skew_orders=30), OTHER_ORDERS),
    ("noise1", lambda: NoiseTrader(activity=0.24, market_share=0.35, cancel_share=0.3), OTHER_ORDERS),
    ("noise2", lambda: NoiseTrader(activity=0.16), OTHER_ORDERS),
    ("noise3", lambda: NoiseTrader(activity=0.1, market_share=0.6, cancel_share=0.1), OTHER_ORDERS),
    ("noise4", lambda: NoiseTrader(activity=0.05, market_share=0.1, cancel_share=0.1, most_orders=12), OTHER_ORDERS),
    ("momentum1", MomentumTrader, OTHER_ORDERS),
    ("reversion1", ReversionTrader, OTHER_ORDERS),
    ("institution1", Institution, INSTITUTION_ORDERS),
)


@dataclass(frozen=True, slots=True)
class Member:
    """One participant of one market: its account, how it decides, and how many typical orders its money is worth."""

    account_id: int
    agent: Agent
    orders: int


def cast(market_id: int) -> list[Member]:
    """The participants of a market, market maker first; made when they are missing."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CASTING_LOCK])
        members = [Member(_house_account(market_id).id, MarketMaker(attention=0.7), HOUSE_ORDERS)]
        for name, make, orders in TRADERS:
            if account := _trader_account(name):
                members.append(Member(account.id, make(), orders))
    return members


def _house_account(market_id: int) -> Account:
    terms = {"kind": Account.Kind.MARKET_MAKER, "market_id": market_id, "user": None}
    return Account.objects.filter(**terms).order_by("id").first() or Account.objects.create(**terms)


def _trader_account(username: str) -> Account | None:
    """None when a person has that name: nobody's account is traded from behind their back."""
    user = User.objects.named(username)
    if user is None:
        user = User(username=username)
        user.set_unusable_password()
        user.save()
    return None if user.has_usable_password() else main_account(user)


#: By (account, asset), in the asset's smallest unit.
Amounts = dict[tuple[int, int], int]


def funds(members: Sequence[Member], spec: MarketSpec, price: int) -> tuple[Amounts, Amounts]:
    """What each member can spend, and what it was given just now because it had run low at this price (ticks)."""
    balances = _balances(members, spec)
    spendable, gifts = {key: free for key, (free, _) in balances.items()}, {}
    for member in members:
        lots = typical_lots(spec, price) * member.orders
        wanted = ((spec.base_id, lots * spec.lot_units), (spec.quote_id, spec.notional(price, lots)))
        for asset_id, target in wanted:
            key = member.account_id, asset_id
            missing = target - sum(balances.get(key, (0, 0)))
            if missing > target // 2:
                _deposit(*key, missing)
                gifts[key] = missing
                spendable[key] = spendable.get(key, 0) + missing
    return spendable, gifts


def _balances(members: Sequence[Member], spec: MarketSpec) -> dict[tuple[int, int], tuple[int, int]]:
    """(available, reserved) by (account, asset), in smallest units."""
    decimals = {spec.base_id: spec.base_decimals, spec.quote_id: spec.quote_decimals}
    rows = Balance.objects.filter(account__in=[member.account_id for member in members], asset__in=list(decimals))

    def whole(amount: Decimal, asset_id: int) -> int:
        return units.to_units(amount, decimals[asset_id])

    return {
        (account, asset): (whole(free, asset), whole(held, asset))
        for account, asset, free, held in rows.order_by().values_list("account", "asset", "available", "reserved")
    }


def _deposit(account_id: int, asset_id: int, amount: int) -> None:
    account, asset = Account.objects.get(pk=account_id), Asset.objects.get(pk=asset_id)
    transfers.deposit(account=account, asset=asset, amount=units.from_units(amount, asset.decimals), reason=REASON)
