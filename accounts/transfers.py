"""Money in and across: deposits, operators' adjustments and transfers. The way out is accounts.withdrawals.

Each is one journal, in one transaction, with its events. What is taken from an account leaves what its open positions
have lost or lack (accounts.spending), unless an operator says that it need not: `spares_losses=False`.

Amounts are positive decimals of whole smallest units. Everything here raises before anything moved, or moves all of it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import partial

from django.conf import settings
from django.db import connection, models, transaction

from accounts import entry_terms, ledger, positions, spending
from accounts.models import Account, Entry, Journal
from marketdata import clock, units
from marketdata.models import Asset
from marketdata.refusals import Malformed, NotFound, Refusal

#: One movement's largest amount, in whole assets.
MAX_AMOUNT = 10**15
#: What tells a faucet's deposit from one by an operator's command.
FAUCET_REASON = "faucet"


class FaucetClosed(Refusal):
    """Users may not deposit by themselves here."""

    code, status, title = "faucet_closed", 403, "Deposits are made by operators"


class FaucetLimit(Refusal):
    """The day's deposits of this asset would exceed the limit."""

    code, title = "faucet_limit", "Daily deposit limit reached"


@dataclass(frozen=True, slots=True)
class Moved:
    """A finished movement and what the account holds of the asset afterwards."""

    journal_id: int
    asset: Asset
    amount: Decimal


def find_asset(symbol: str) -> Asset:
    """The active asset of that symbol (any case); NotFound otherwise."""
    asset = asset_named(symbol)
    if not asset.is_active:
        raise _unknown(symbol)
    return asset


def asset_named(symbol: str) -> Asset:
    """The same, active or not: what is no longer traded is still on statements, and paid out."""
    asset = Asset.objects.filter(symbol=str(symbol).upper()).first()
    if asset is None:
        raise _unknown(symbol)
    return asset


def _unknown(symbol: str) -> NotFound:
    return NotFound(f"There is no asset {symbol!r}; GET /api/v1/currencies/ lists them.")


def deposit(*, account: Account, asset: Asset, amount: Decimal, reason: str = "") -> Moved:
    """Money from the outside world to the account."""
    return _move(Journal.Kind.DEPOSIT, account, asset, amount, 1, reason, None)


def adjust(
    *, account: Account, asset: Asset, amount: Decimal, reason: str, actor_id: int | None, spares_losses: bool = True
) -> Moved:
    """An operator's correction, up or down, with its reason. A reason is required."""
    if not reason.strip():
        raise Malformed("An adjustment needs a reason.")
    sign = 1 if amount > 0 else -1
    return _move(Journal.Kind.ADJUSTMENT, account, asset, abs(amount), sign, reason, actor_id, spares_losses)


def transfer(
    *, from_account: Account, to_account: Account, asset: Asset, amount: Decimal, reason: str, actor_id: int | None,
    spares_losses: bool = True,
) -> Moved:  # fmt: skip
    """From one account of the venue to another, by an operator, with a reason. InsufficientFunds when the giver has
    less available.
    """
    if not reason.strip():
        raise Malformed("A transfer needs a reason.")
    if from_account.pk == to_account.pk:
        raise Malformed("A transfer goes from one account to another.")
    if Account.Kind.OUTSIDE in (from_account.kind, to_account.kind):
        raise Malformed("What comes from or goes to the outside world is a deposit or a withdrawal.")
    size = whole_units(asset, amount)
    with transaction.atomic():
        entries = [(from_account.pk, asset, -size), (to_account.pk, asset, size)]
        journal_id = ledger.post(
            kind=Journal.Kind.TRANSFER, entries=entries, reason=reason, actor_id=actor_id,
            admit=partial(_check, from_account, asset, size if spares_losses else 0),
        )  # fmt: skip
    return Moved(journal_id, asset, amount)


def faucet(*, account: Account, asset: Asset, amount: Decimal) -> Moved:
    """A deposit that users make for themselves on a demo venue, up to FAUCET_DAILY_LIMIT of an active asset per user
    and UTC day.
    """
    if not settings.FAUCET:
        raise FaucetClosed("This venue takes no deposits over the API; ask the operator.")
    if not asset.is_active:
        raise _unknown(asset.symbol)
    entry_terms.check_money_may_move(account)
    with transaction.atomic():
        # The account's lock makes the sum below and the deposit one step for all of the user's requests.
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        today = datetime.combine(clock.now().date(), time.min, UTC)
        used = Entry.objects.filter(
            account=account,
            asset=asset,
            journal__kind=Journal.Kind.DEPOSIT,
            journal__actor=None,
            journal__reason=FAUCET_REASON,
            journal__created_at__gte=today,
        ).aggregate(sum=models.Sum("amount"))["sum"] or Decimal(0)
        if used + amount > settings.FAUCET_DAILY_LIMIT:
            raise FaucetLimit(
                f"At most {settings.FAUCET_DAILY_LIMIT} {asset} a day; "
                f"{units.plain(settings.FAUCET_DAILY_LIMIT - used)} are left today."
            )
        return deposit(account=account, asset=asset, amount=amount, reason=FAUCET_REASON)


def _move(
    kind: str, account: Account, asset: Asset, amount: Decimal, sign: int, reason: str, actor_id: int | None,
    spares_losses: bool = True,
) -> Moved:  # fmt: skip
    size = whole_units(asset, amount)
    with transaction.atomic():
        outside = ledger.outside_world().id
        entries = [(outside, asset, -sign * size), (account.id, asset, sign * size)]
        admit = partial(_check, account, asset, -sign * size if spares_losses else 0)
        journal_id = ledger.post(
            kind=kind, entries=entries, reason=reason, actor_id=actor_id, outside=outside, admit=admit
        )
    return Moved(journal_id, asset, amount)


def _check(account: Account, asset: Asset, size: int, sheet: ledger.Sheet) -> None:
    """InsufficientFunds when the account may not give so much; nothing is asked of what it gets."""
    if size > 0:
        with connection.cursor() as cursor:
            sheet.positions = positions.read(cursor, [account.pk])
        spending.check(sheet, account.pk, asset.pk, size)


def whole_units(asset: Asset, amount: Decimal) -> int:
    """A movement's amount in smallest units; Malformed when it is out of range or too fine."""
    if not 0 < amount <= MAX_AMOUNT:
        raise Malformed(
            f"The amount must be above 0 and at most {MAX_AMOUNT}.",
            errors=[{"field": "amount", "code": "out_of_range", "detail": "Out of range."}],
        )
    try:
        return units.to_units(amount, asset.decimals)
    except units.NotWhole as error:
        raise Malformed(
            f"{error}: {asset} has {asset.decimals}.",
            errors=[{"field": "amount", "code": "too_many_decimals", "detail": str(error)}],
        ) from None
