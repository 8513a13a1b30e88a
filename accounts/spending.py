"""Giving funds away: out of the venue, or for another asset.

An account with open positions owes what they have lost by now, though it pays only when they are closed. It also owes
them the margin that they should have reserved and have not, because another position's loss or financing took it. So
of what is available it may spend no more than leaves both covered; gains count once they are real. Margin orders are
weighed by the same figure (exchange.margin), and accounts see it as `spendable` (accounts.margin.State).
"""

from accounts.ledger import InsufficientFunds, Sheet
from accounts.positions import LivePosition
from marketdata import units


def spendable(sheet: Sheet, account: int, asset: int, *, instead: LivePosition | None = None) -> int:
    """What is available, less what open positions settled in the asset have lost at their marks, and less what they
    lack of their margin; may be below zero. `instead`: one as it would be, for the account's in that market.

    StalePrice when nothing tells what a loss in another currency is worth.
    """
    return sheet.available(account, asset) - sheet.positions.owed(account, asset, instead=instead)


def check(sheet: Sheet, account: int, asset: int, amount: int) -> None:
    """InsufficientFunds when the account may not spend so much."""
    if amount <= 0:
        return
    if sheet.available(account, asset) < amount:
        sheet.refuse(account, asset, amount)
    have = spendable(sheet, account, asset)
    if have < amount:
        scale = sheet.scales[asset]
        needs, left = (units.text(max(0, figure), scale.decimals) for figure in (amount, have))
        raise InsufficientFunds(
            f"Needs {needs} {scale.symbol}; {left} are available beyond what open positions have lost or lack."
        )


def reserve(sheet: Sheet, account: int, asset: int, amount: int) -> None:
    """Set funds aside that are to be spent; InsufficientFunds, with nothing changed, when the account may not."""
    check(sheet, account, asset, amount)
    sheet.reserve(account, asset, amount)
