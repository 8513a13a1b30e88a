"""What the account of a competition entry may do: trade some markets for some time, and nothing else with its money.

An order that can only reduce a position is always let through: what is open when the round ends, or in a market that
the competition no longer has, would else stay open until it is liquidated.

Pure. The terms stand on the account's row, so that whoever holds its lock has them; `accounts.competitions` keeps
them up.
"""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Account
from marketdata import clock
from marketdata.refusals import Refusal


class CompetitionClosed(Refusal):
    """The competition has not begun, is over, or is about other markets."""

    code, title = "competition_closed", "Not open to this competition entry"


class CompetitionMoney(Refusal):
    """An entry begins with what everybody gets, and keeps it to the end."""

    code, status, title = "competition_money", 403, "Money of a competition entry stays as it is"


@dataclass(frozen=True, slots=True)
class EntryTerms:
    """From when (inclusive) until when (exclusive) the account trades which markets."""

    opens_at: datetime
    closes_at: datetime
    market_ids: frozenset[int]

    def check(self, market_id: int, symbol: str, moment: datetime, *, only_reduces: bool) -> None:
        """CompetitionClosed unless the account may trade the market at that moment, or only leaves it."""
        if only_reduces:
            return
        if moment < self.opens_at:
            raise CompetitionClosed(f"The competition begins at {clock.text(self.opens_at)}.")
        if moment >= self.closes_at:
            raise CompetitionClosed(f"The competition ended for this entry at {clock.text(self.closes_at)}.")
        if market_id not in self.market_ids:
            raise CompetitionClosed(f"{symbol} is not one of the competition's markets.")


def terms_of(opens_at: datetime | None, closes_at: datetime | None, market_ids: list[int] | None) -> EntryTerms | None:
    """The terms in an account's columns; None for an ordinary account."""
    return None if market_ids is None else EntryTerms(opens_at, closes_at, frozenset(market_ids))


def check_money_may_move(account: Account) -> None:
    """CompetitionMoney for deposits to and withdrawals from an entry's account."""
    if account.market_ids is not None:
        raise CompetitionMoney("A competition entry takes no deposits and pays nothing out; it only trades.")
