"""Who pays whom for a match, at once or later. What the two orders had reserved for it is free already."""

from collections import defaultdict
from collections.abc import Iterator

from exchange import deferred, spot
from exchange.books import LiveBook, Match
from exchange.live import LiveOrder


def pay(batch, live: LiveBook, match: Match) -> None:
    """Move one trade's money, before `Records.trade` notes it: its place there is the reference until it has an id."""
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


def freed(matches: list[Match]) -> Iterator[tuple[Match, int]]:
    """Each match with the lots of its maker that are freed then: all of an iceberg at the first time that it is met.
    Its parts, of which there may be thousands, are freed together, so that no fee rounds.
    """
    icebergs: dict[LiveOrder, int] = defaultdict(int)
    for match in matches:
        if match.maker.display:
            icebergs[match.maker] += match.lots
    for match in matches:
        yield match, icebergs.pop(match.maker, 0) if match.maker.display else match.lots
