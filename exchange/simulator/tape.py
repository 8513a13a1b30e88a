"""A digest of the public tape, to tell whether two runs of the simulator traded the same."""

from hashlib import blake2b

from exchange.models import Trade
from marketdata.units import plain


def tape_hash(*, after_trade_id: int = 0) -> str:
    """Over symbol, price, quantity and taker's side of each trade, market by market in the order of the trades."""
    trades = Trade.objects.filter(id__gt=after_trade_id)
    digest = blake2b(digest_size=16)
    rows = trades.order_by("market__symbol", "id").values_list("market__symbol", "price", "quantity", "taker_side")
    for symbol, price, quantity, side in rows.iterator():
        digest.update(f"{symbol} {plain(price)} {plain(quantity)} {side}\n".encode())
    return digest.hexdigest()
