"""Who pays whom for a match, at once or later. What the two orders had reserved for it is free already."""

from exchange import spot
from exchange.books import LiveBook, Match


def pay(batch, live: LiveBook, match: Match) -> None:
    """One trade's money, of the record that `Records.trade` makes next."""
    buyer_fee, seller_fee = match.taker_fee, match.maker_fee
    buy, sell = match.taker, match.maker
    if match.taker.side < 0:
        buy, sell, buyer_fee, seller_fee = sell, buy, seller_fee, buyer_fee
    spot.settle(
        batch.sheet,
        live.spec,
        reference=len(batch.records.trades),
        fees=live.fees,
        buyer=buy.account,
        seller=sell.account,
        lots=match.lots,
        notional=match.notional,
        buyer_fee=buyer_fee,
        seller_fee=seller_fee,
    )
