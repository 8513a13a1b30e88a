"""The digest of a book: of all that decides how it goes on."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from exchange.engine.orders import Order


def rows_of(order: Order) -> Iterator[tuple[int, int, int, int, int]]:
    """What `hash_rows` takes of an order: an iceberg has a second row, with what it hides and shows at a time."""
    yield order.side, order.price, order.id, order.remaining, order.quantity
    if order.display:
        yield order.side, order.price, order.id, order.hidden, order.display


def hash_rows(rows: Iterable[tuple[int, int, int, int, int]]) -> str:
    """The digest of resting orders given as (side, price, id, remaining, quantity).

    Bids come first, then asks, each side best price first and in queue order. Rows from a database hash like
    a book, so that the two can be compared.
    """
    digest = blake2b(digest_size=16)
    for side, price, order_id, remaining, quantity in rows:
        digest.update(b"%d %d %d %d %d\n" % (side, price, order_id, remaining, quantity))
    return digest.hexdigest()
