"""The kill switch of an account: from one moment on it places and amends nothing, and what it had open is cancelled.

The owner pulls and resets their own; what an operator has pulled only an operator resets. The flag is set first, under
the account's lock: a batch that holds the lock finishes, and its orders are cancelled with the rest; any later one
reads the flag. Orders in halted markets are cancelled too, as an operator would. Pulling it twice does no harm.
"""

from collections.abc import Callable

from django.db import transaction

from accounts.models import Account
from exchange import orders
from exchange.models import Order
from marketdata.refusals import Refusal

OWNER, OPERATOR = "OWNER", "OPERATOR"


class StoppedByOperator(Refusal):
    code, status, title = "stopped_by_operator", 403, "Stopped by the operator"


def pull(*, account_id: int, by: str) -> int:
    """Stop the account and cancel all it has open; how many orders were cancelled."""
    _set(account_id, lambda before: OPERATOR if OPERATOR in (before, by) else by)
    return cancel_everything(account_id, "" if by == OWNER else "operator")


def reset(*, account_id: int, by: str) -> None:
    """Let the account trade again. StoppedByOperator when that is not the caller's to decide."""

    def after(before: str) -> str:
        if before == OPERATOR and by != OPERATOR:
            raise StoppedByOperator("An operator has stopped this account; ask them.")
        return ""

    _set(account_id, after)


def state(account_id: int) -> str:
    """Who has pulled it, or nothing."""
    return Account.objects.values_list("stopped_by", flat=True).get(pk=account_id)


def _set(account_id: int, after: Callable[[str], str]) -> None:
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
        account.stopped_by = after(account.stopped_by)
        account.save(update_fields=["stopped_by"])


def cancel_everything(account_id: int, reason: str) -> int:
    """Every live order of the account, in whatever market; how many there were. In one whose figures make no sense
    nothing can be cancelled, and nothing trades.
    """
    done = len(orders.cancel_all(account_id=account_id, reason=reason))
    left = Order.objects.filter(account_id=account_id, status__in=Order.LIVE).order_by("pk")
    return done + orders.cancel_these(list(left.values_list("pk", flat=True)), reason=reason).cancelled
