"""A crash: traders with leverage on both sides of three markets, the house quoting, and prices that fall through them.

Each trader has a thousand dollars and most of it in margin. The marks move down in steps of 0.4 %, far enough to
liquidate everybody who is on the wrong side, with one gap of 3 % on the way that costs some more than they have; then
back up, through the others. After each step the house quotes anew and the engine liquidates. What must hold is for the
caller to check: see `verdict`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from django.db import transaction
from django.db.models import Sum

from accounts import ledger
from accounts.models import Account, Balance, Entry, Journal, Position, Shortfall, User
from exchange import house_quotes, orders
from exchange.commands import Place
from exchange.models import Liquidation
from marketdata import units
from marketdata.markets import by_symbol
from marketdata.models import Asset

START = {"EURUSD": Decimal("1.10000"), "GBPUSD": Decimal("1.25000"), "USDJPY": Decimal("150.000")}
STEP, GAP, GAP_AFTER = Decimal("0.004"), Decimal("0.03"), 1
CAPITAL = 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it: accounts liquidated, positions summed by market, dollars before and after, losses not paid."""

    liquidated: int
    open_sums: dict[str, Decimal]
    paid_in: Decimal
    held: Decimal
    covered: Decimal
    uncovered: Decimal

    def is_conserved(self) -> bool:
        return not any(self.open_sums.values()) and self.paid_in == self.held


def population(count: int) -> list[Account]:
    """Traders with their capital, made at once."""
    users = User.objects.bulk_create(User(username=f"trader{number}", password="!") for number in range(count))
    accounts = Account.objects.bulk_create(Account(user=user, kind=Account.Kind.MAIN) for user in users)
    fund(accounts, CAPITAL)
    return accounts


def fund(accounts: list[Account], amount: Decimal | int) -> None:
    """Pay each of them so many dollars; below zero: take them out."""
    dollar = Asset.objects.get(symbol="USD")
    each = units.to_units(Decimal(amount), dollar.decimals)
    entries = [(account.id, dollar, each) for account in accounts]
    outside = ledger.outside_world().id
    entries.append((outside, dollar, -each * len(accounts)))
    kind = Journal.Kind.DEPOSIT if amount > 0 else Journal.Kind.WITHDRAWAL
    with transaction.atomic():
        ledger.post(kind=kind, entries=entries, outside=outside)


def open_positions(accounts: list[Account], dice: Random) -> None:
    """A position each, against the house's quotes: six of seven on the side that the crash will hurt."""
    commands = []
    for account in accounts:
        spec = by_symbol(dice.choice(sorted(START)))
        side = 1 if dice.randrange(7) else -1
        commands.append(
            Place(
                account=account.id, spec=spec, side=side, type="MARKET", price=None, quantity=dice.randrange(20, 40),
                budget=None, time_in_force="IOC", post_only=False, prevention="EXPIRE_TAKER",
            )  # fmt: skip
        )
    place_all(commands)


def place_all(commands: list[Place]) -> None:
    """Place them side by side; the first refusal is raised."""
    for outcome in orders.place_many(commands):
        if isinstance(outcome, Exception):
            raise outcome


def prices(down: int, up: int) -> Iterator[dict[str, Decimal]]:
    """The marks of every step: down, then up beyond the start."""
    for step in [*range(1, down + 1), *range(down - 1, -up - 1, -1)]:
        factor = 1 - STEP * step - (GAP if step > GAP_AFTER else 0)
        yield {symbol: price * factor for symbol, price in START.items()}


def play(venue, count: int, seed: int, *, down: int = 5, up: int = 10) -> Verdict:
    """`venue`: a tests.margin_risk.venue.RiskVenue."""
    dice = Random(seed)
    for symbol, price in START.items():
        venue.terms(
            symbol, is_quoted=True, quote_size_lots=1_000_000, exposure_limit_lots=10_000_000,
            mark_jump=Decimal("0.05"), mark_max_age_seconds=3600,  # between two prices lie thousands of orders
        )  # fmt: skip
        venue.quote(symbol, str(price), str(price))
    fund([house_quotes.house_account(by_symbol(symbol).id) for symbol in START], 10_000_000)
    venue.tick()
    accounts = population(count)
    open_positions(accounts, dice)
    venue.watch()
    for step in prices(down, up):
        for symbol, price in step.items():
            rounded = price.quantize(Decimal("0.00001") if symbol != "USDJPY" else Decimal("0.001"))
            venue.quote(symbol, str(rounded), str(rounded))
        venue.tick()
        venue.watch()
    return verdict()


def verdict() -> Verdict:
    dollar = Asset.objects.get(symbol="USD")
    open_rows = Position.objects.filter(closed_at__isnull=True).order_by()
    shortfalls = Shortfall.objects.aggregate(covered=Sum("covered"), uncovered=Sum("uncovered"))
    entries = Entry.objects.filter(asset=dollar)
    outside = entries.filter(account__kind=Account.Kind.OUTSIDE).aggregate(sum=Sum("amount"))["sum"]
    clearing = entries.filter(account__kind=Account.Kind.CLEARING).aggregate(sum=Sum("amount"))["sum"] or Decimal(0)
    balances = Balance.objects.filter(asset=dollar).aggregate(sum=Sum("available") + Sum("reserved"))["sum"]
    return Verdict(
        liquidated=Liquidation.objects.values("account").distinct().count(),
        open_sums=dict(open_rows.values_list("market__symbol").annotate(Sum("quantity"))),
        paid_in=-outside,
        held=balances + clearing,
        covered=shortfalls["covered"] or Decimal(0),
        uncovered=shortfalls["uncovered"] or Decimal(0),
    )
