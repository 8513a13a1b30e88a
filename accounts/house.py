"""The house's accounts of margin markets, made when they are first asked for."""

from typing import NamedTuple

from accounts.models import Account


class House(NamedTuple):
    """The accounts that stand behind a margin market, beside the one for fees."""

    clearing: int
    insurance: int


def clearing_account(market_id: int) -> Account:
    """The account through which a margin market's profits and losses pass from those who lose to those who win. It has
    no purse and no floor, like the outside world: who wins may close before who loses.
    """
    return Account.objects.get_or_create(kind=Account.Kind.CLEARING, market_id=market_id)[0]


def insurance_fund() -> Account:
    """The house's account that pays what losers cannot."""
    return Account.objects.get_or_create(kind=Account.Kind.INSURANCE, defaults={"name": "Insurance fund"})[0]
