"""Who takes part in a simulated market, and their money.

Each market has a house account of kind MARKET_MAKER of its own, so that markets do not wait for each other's locks;
the noise traders are users without a usable password, who trade in all markets from their main accounts. Their money
is deposited like anybody's, with a reason, and topped up when it runs low: what the simulation hands to real traders
stays visible in the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection, transaction

from accounts import transfers
from accounts.models import Account, Balance, User
from accounts.users import main_account
from exchange.simulator.agents import Agent, MarketMaker, NoiseTrader, typical_lots
from marketdata import units
from marketdata.markets import MarketSpec
from marketdata.models import Asset

#: Whoever makes accounts holds this advisory lock: no constraint says that there is one market maker per market.
CASTING_LOCK = 0x63617374
NOISE_TRADERS = ("noise1", "noise2", "noise3", "noise4")
REASON = "simulator funds"
#: What each kind holds of base and quote, in typical orders; topped up below the half.
HOUSE_ORDERS, NOISE_ORDERS = 2000, 200


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
        members = [Member(_house_account(market_id).id, MarketMaker(), HOUSE_ORDERS)]
        noise = [account for name in NOISE_TRADERS if (account := _noise_account(name))]
        members += [Member(account.id, NoiseTrader(), NOISE_ORDERS) for account in noise]
    return members


def _house_account(market_id: int) -> Account:
    terms = {"kind": Account.Kind.MARKET_MAKER, "market_id": market_id, "user": None}
    return Account.objects.filter(**terms).order_by("id").first() or Account.objects.create(**terms)


def _noise_account(username: str) -> Account | None:
    """None when a person has that name: nobody's account is traded from behind their back."""
    user = User.objects.filter(username__iexact=username).first()
    if user is None:
        user = User(username=username)
        user.set_unusable_password()
        user.save()
    return None if user.has_usable_password() else main_account(user)


def funds(members: Sequence[Member], spec: MarketSpec, price: int) -> dict[tuple[int, int], int]:
    """What each member can spend, by (account, asset), in smallest units.

    Whoever has run low of base or quote at this price (ticks) has been given more before.
    """
    balances = _balances(members, spec)
    spendable = {key: free for key, (free, _) in balances.items()}
    for member in members:
        lots = typical_lots(spec, price) * member.orders
        wanted = ((spec.base_id, lots * spec.lot_units), (spec.quote_id, spec.notional(price, lots)))
        for asset_id, target in wanted:
            key = member.account_id, asset_id
            missing = target - sum(balances.get(key, (0, 0)))
            if missing > target // 2:
                _deposit(*key, missing)
                spendable[key] = spendable.get(key, 0) + missing
    return spendable


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
