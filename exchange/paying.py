"""Who pays whom for a match, at once or later. What the two orders had reserved for it is free already."""

from exchange import deferred, spot
from exchange.books import LiveBook, Match


def pay(batch, live: LiveBook, match: Match) -> None:
    """One trade's money, of the record that `Records.trade` makes next."""
    buy, sell, buyer_fee, seller_fee = deferred.sides(match)
    terms = {
        "reference": len(batch.records.trades),
        "buyer": buy.account,
        "seller": sell.account,
        "lots": match.lots,
        "notional": match.notional,
        "buyer_fee": buyer_fee,
        "seller_fee": seller_fee,
    }
    if live.spec.contract is not None:
        return batch.margin_desk.settle(batch.sheet, live, **terms)
    if deferred.is_deferred(live):
        return deferred.hold(batch.sheet, live.spec, buy.account, sell.account, match, buyer_fee)
    return spot.settle(batch.sheet, live.spec, fees=live.fees, **terms)


def freed_lots(matches: list[Match], match: Match) -> int:
    """All lots of an iceberg at the first time that it is met: its parts are freed together, so that no fee rounds."""
    lots = [one.lots for one in matches if one.maker is match.maker]
    first = next(one for one in matches if one.maker is match.maker)
    return sum(lots) if first is match else 0
