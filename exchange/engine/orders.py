"""What every book of the engine speaks of: an order, the plan for it, and the words for its terms.

Units: a price is a whole number of ticks, a quantity a whole number of lots, a notional or budget ticks ×
lots. Everything is an `int`; nothing here rounds.

Invariants
- `Order.side` is signed, so `side * lots` is a change of position and `side * price` orders prices of both
  sides.
- A `Plan` describes, it changes nothing. It holds until the book changes, and no longer.
- A refused plan has no effects: no matches, nothing expired, nothing rests.
"""

BUY, SELL = 1, -1

GTC, IOC, FOK = "GTC", "IOC", "FOK"

EXPIRE_TAKER, EXPIRE_MAKER, EXPIRE_BOTH = "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"

WOULD_TAKE = "would_take"
CANNOT_FILL = "cannot_fill"
NO_LIQUIDITY = "no_liquidity"
SELF_TRADE = "self_trade"


class Order:
    """An order as the book knows it. `price` is None for a market order, `quantity` 0 for one by budget.

    A book only reads `account`, to keep an account from trading with itself. A subclass may add slots; the
    book leaves them alone. `previous`, `next` and `level` belong to the book: `level` is None unless the
    order rests.
    """

    __slots__ = ("id", "account", "side", "price", "quantity", "remaining", "previous", "next", "level")

    #: Of an iceberg: lots that it shows at a time, lots that it does not show now. A subclass may have slots for them.
    display = hidden = 0

    def __init__(self, id: int, account: int, side: int, price: int | None, quantity: int):
        self.id = id
        self.account = account
        self.side = side
        self.price = price
        self.quantity = quantity
        self.remaining = quantity
        self.level = None

    def __repr__(self) -> str:
        side = "buy" if self.side == BUY else "sell"
        return (
            f"<{side} {self.id}: {self.remaining} of {self.quantity} @ {self.price}, account {self.account}>"
        )


class Plan:
    """What would happen to `order`: the answer of a read-only look at a book.

    refusal         None, or `would_take`, `cannot_fill`, `no_liquidity`, `self_trade`
    matches         (maker, lots) in the order of execution, each at the maker's price
    expired_makers  the account's own resting orders that self-trade prevention removes
    filled          lots of this plan's matches (an amended order's earlier fills are not in it)
    notional        the sum of maker price × lots, in ticks × lots
    rests           lots that will rest in the book
    expires         lots that end unfilled; 0 for an order by budget, which has no quantity
    keeps_place     whether an amendment leaves the order where it stands in its queue
    price, quantity the new terms of an amendment, None for a new order

    Most orders meet nobody and come to rest. This class is their plan: all but two of the attributes are the
    constants below, so that the commonest plan is the cheapest. `FullPlan` is every other.
    """

    __slots__ = ("order", "rests")

    refusal = None
    matches = expired_makers = ()
    filled = notional = expires = 0
    keeps_place = False
    price = quantity = None

    def __init__(self, order: Order, rests: int):
        self.order = order
        self.rests = rests

    def __repr__(self) -> str:
        names = ("order", "rests", *FullPlan.__slots__)
        return f"Plan({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


class FullPlan(Plan):
    """The plan of an order that does more than come to rest, or less."""

    __slots__ = (
        "refusal", "matches", "expired_makers", "filled", "notional", "expires",
        "keeps_place", "price", "quantity",
    )  # fmt: skip

    def __init__(self, order: Order, rests: int, price: int | None = None, quantity: int | None = None):
        self.order = order
        self.rests = rests
        self.refusal = None
        self.matches = self.expired_makers = ()
        self.filled = self.notional = self.expires = 0
        self.keeps_place = False
        self.price = price
        self.quantity = quantity

    def refuse(self, code: str) -> "FullPlan":
        """Turn this plan into a refusal, which has no effects."""
        self.refusal = code
        self.matches = self.expired_makers = ()
        self.filled = self.notional = self.rests = self.expires = 0
        return self
