"""A tiny language for tests of order books: a book, an order and what comes of it are a line of text each.

- A book: `bid 100 x 5 by 3 | ask 101 x 3`. The orders come in as written, with the ids 1, 2, 3, …; `by` is
  the account, which is the id times ten unless it is given; `shows 2` makes an iceberg.
- An order: `buy 100 x 5`, with any of `ioc`, `fok`, `post_only`, `expire_maker`, `expire_both`, `by 3`.
  `market` instead of a price; `buy market for 500` is by budget. Incoming orders have the id 9 and the
  account 90.
- An amendment: `amend 2 to 101 x 4 post_only`.
- What came of it: `#2 3 @ 101, #4 1 @ 102, removes #3, expires 1, rests 2`, or the code of the refusal.
- `shown` writes a book as `bid 100 x 5 #1 | ask 101 x 3 #2`, best price first and in queue order.
"""

from exchange.engine.book import (
    BUY,
    EXPIRE_BOTH,
    EXPIRE_MAKER,
    EXPIRE_TAKER,
    FOK,
    GTC,
    IOC,
    SELL,
    Order,
    Plan,
)

SIDES = {"bid": BUY, "buy": BUY, "ask": SELL, "sell": SELL}
INCOMING = 9


def filled_book(book, text: str):
    """Put the orders of the text into the empty book and return it."""
    for order_id, entry in enumerate(filter(None, map(str.strip, text.split("|"))), 1):
        words = entry.split()
        side, price, lots = words[0], int(words[1]), int(words[3])
        account = int(words[5]) if "by" in words else 10 * order_id
        book.restore(_iceberg_or_plain(words, order_id, account, SIDES[side], price, lots))
    book.drain_changes()
    return book


class Iceberg(Order):
    """An order with a hidden part."""

    __slots__ = ("display", "hidden")


def _iceberg_or_plain(words: list[str], *terms, is_new: bool = False) -> Order:
    if "shows" not in words:
        return Order(*terms)
    order = Iceberg(*terms)
    order.display, order.hidden = int(words[words.index("shows") + 1]), 0
    if not is_new:
        order.remaining = min(order.display, order.quantity)
        order.hidden = order.quantity - order.remaining
    return order


def look(book, text: str) -> Plan:
    """The plan for an order or an amendment, not executed."""
    words = text.split()
    prevention = (
        EXPIRE_MAKER if "expire_maker" in words else EXPIRE_BOTH if "expire_both" in words else EXPIRE_TAKER
    )
    terms = {"post_only": "post_only" in words, "prevention": prevention}
    if words[0] == "amend":
        return book.plan_amend(int(words[1]), price=int(words[3]), quantity=int(words[5]), **terms)
    account = int(words[words.index("by") + 1]) if "by" in words else 10 * INCOMING
    price = None if words[1] == "market" else int(words[1])
    lots = int(words[words.index("x") + 1]) if "x" in words else 0
    budget = int(words[words.index("for") + 1]) if "for" in words else None
    time_in_force = IOC if "ioc" in words else FOK if "fok" in words else GTC
    order = _iceberg_or_plain(words, INCOMING, account, SIDES[words[0]], price, lots, is_new=True)
    return book.plan(order, time_in_force=time_in_force, budget=budget, **terms)


def do(book, text: str) -> str:
    """Look, execute unless it is refused, and tell what came of it."""
    plan = look(book, text)
    if plan.refusal is None:
        book.execute(plan)
    return told(plan)


def told(plan: Plan) -> str:
    """A plan in words; its sums are checked on the way."""
    assert plan.filled == sum(lots for _, lots in plan.matches)
    assert plan.notional == sum(maker.price * lots for maker, lots in plan.matches)
    if plan.refusal is not None:
        assert not (plan.matches or plan.expired_makers or plan.rests or plan.expires)
        return plan.refusal
    parts = [f"#{maker.id} {lots} @ {maker.price}" for maker, lots in plan.matches]
    parts += [f"removes #{maker.id}" for maker in plan.expired_makers]
    parts += [f"expires {plan.expires}"] * bool(plan.expires)
    parts += [f"rests {plan.rests}"] * bool(plan.rests)
    parts += ["keeps place"] * plan.keeps_place
    return ", ".join(parts) or "nothing"


def shown(book) -> str:
    """The book in words, best price first and in queue order."""
    orders = [*book.reachable(SELL, price=None), *book.reachable(BUY, price=None)]
    names = {BUY: "bid", SELL: "ask"}
    return " | ".join(
        f"{names[order.side]} {order.price} x {order.remaining} #{order.id}" for order in orders
    )
