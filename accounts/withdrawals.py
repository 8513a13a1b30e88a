"""Taking money out: asked for by the user, reserved meanwhile, decided by an operator.

PENDING → APPROVED (released and paid out by one journal), REJECTED or CANCELLED (released). Each step is one
transaction under the account's lock, which is taken first (the lock order is in accounts.ledger), so that a
withdrawal is decided once, whoever else tries at the same time. Invariant: what is PENDING is part of the account's
reserved funds.
"""

from decimal import Decimal

from django.conf import settings
from django.db import connection, transaction

from accounts import entry_terms, ledger, positions, spending, transfers
from accounts.models import Account, Journal, User, Withdrawal
from marketdata import clock
from marketdata.models import Asset
from marketdata.refusals import Malformed, NotFound, Refusal

Status = Withdrawal.Status


class WithdrawalDecided(Refusal):
    """It is no longer pending."""

    code, status, title = "withdrawal_decided", 409, "The withdrawal is decided already"


def request(*, account: Account, asset: Asset, amount: Decimal) -> Withdrawal:
    """Reserve the amount and wait for an operator; paid out at once where WITHDRAWALS_INSTANT is on.

    InsufficientFunds (what open positions have lost stays), Malformed for an amount that no withdrawal has.
    """
    entry_terms.check_money_may_move(account)
    size = transfers.whole_units(asset, amount)
    with transaction.atomic():
        with ledger.working_sheet([account.pk], [asset]) as sheet:
            with connection.cursor() as cursor:
                sheet.positions = positions.read(cursor, [account.pk])
            spending.reserve(sheet, account.pk, asset.pk, size)
        withdrawal = Withdrawal.objects.create(
            account=account, asset=asset, amount=amount, requested_at=clock.now(), status=Status.PENDING
        )
        if settings.WITHDRAWALS_INSTANT:
            withdrawal = approve(withdrawal_id=withdrawal.pk, actor=None, reason="")
    return withdrawal


def approve(*, withdrawal_id: int, actor: User | None, reason: str) -> Withdrawal:
    """Pay it out. WithdrawalDecided when it is not pending."""
    return _decide(withdrawal_id, Status.APPROVED, actor, reason)


def reject(*, withdrawal_id: int, actor: User, reason: str) -> Withdrawal:
    """Give the money back, with a reason for the user. WithdrawalDecided when it is not pending."""
    if not reason.strip():
        raise Malformed("A rejection needs a reason.")
    return _decide(withdrawal_id, Status.REJECTED, actor, reason)


def cancel(*, withdrawal_id: int, account_id: int) -> Withdrawal:
    """The user's own change of mind. NotFound for somebody else's, WithdrawalDecided when it is not pending."""
    find(withdrawal_id=withdrawal_id, account_id=account_id)
    return _decide(withdrawal_id, Status.CANCELLED, None, "")


def find(*, withdrawal_id: int, account_id: int) -> Withdrawal:
    """The account's withdrawal of that id; NotFound otherwise."""
    rows = Withdrawal.objects.select_related("asset").filter(account_id=account_id)
    withdrawal = rows.filter(pk=withdrawal_id).first()
    if withdrawal is None:
        raise NotFound(f"You have no withdrawal {withdrawal_id}.")
    return withdrawal


def _decide(withdrawal_id: int, status: str, actor: User | None, reason: str) -> Withdrawal:
    """Release what is reserved, pay it out if approved, and note who, when and why."""
    rows = Withdrawal.objects.select_related("asset")
    seen = rows.get(pk=withdrawal_id)
    size = transfers.whole_units(seen.asset, seen.amount)
    outside = ledger.outside_world().pk
    with transaction.atomic():
        with ledger.working_sheet([seen.account_id], [seen.asset]) as sheet:
            withdrawal = rows.get(pk=withdrawal_id)
            if withdrawal.status != Status.PENDING:
                raise WithdrawalDecided(f"Withdrawal {withdrawal_id} is {withdrawal.status} already.")
            sheet.release(seen.account_id, seen.asset_id, size)
            if status == Status.APPROVED:
                entries = [(seen.account_id, seen.asset_id, -size), (outside, seen.asset_id, size)]
                sheet.post(
                    Journal.Kind.WITHDRAWAL,
                    entries,
                    reference=withdrawal_id,
                    reason=reason,
                    actor=actor and actor.pk,
                    outside=outside,
                )
        withdrawal.status, withdrawal.decided_at = status, clock.now()
        withdrawal.decided_by, withdrawal.reason = actor, reason
        withdrawal.journal_id = sheet.journal_ids[0] if sheet.journal_ids else None
        withdrawal.save()
    return withdrawal
