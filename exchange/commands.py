"""What can be asked of the matcher, and the refusals it answers with.

Commands carry whole ticks and lots and the account that asks; who may ask is settled at the doors before.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from marketdata.markets import MarketSpec
from marketdata.refusals import NotFound, Refusal, Unavailable


@dataclass(slots=True)
class Place:
    """A checked order. Price in ticks (None: market order), quantity in lots (0: by budget), budget in quote units."""

    account: int
    spec: MarketSpec
    side: int
    type: str
    price: int | None
    quantity: int
    budget: int | None
    time_in_force: str
    post_only: bool
    prevention: str
    client_order_id: str | None = None
    fingerprint: str | None = None
    reduce_only: bool = False
    #: The risk monitor's: not subject to what protects those who open risk (hours, stale prices, bands).
    is_liquidation: bool = False
    #: Of a liquidation's: the position in lots for which it was decided. It is for no other one.
    held: int | None = None
    #: How many orders it makes.
    orders: ClassVar[int] = 1
    #: The terms of an order that is more than plain, by the names of exchange.live.SpecialOrder.
    more: dict | None = None


@dataclass(slots=True)
class Amend:
    """New terms for an open order; None leaves a term as it is.

    Decimals, because the market is only known once it is found.
    """

    account: int
    order_id: int
    price: Decimal | None
    quantity: Decimal | None


@dataclass(slots=True)
class Cancel:
    """Take an open order out. `account` None: the venue or an operator, who may also cancel in a halted market, and
    says why.
    """

    account: int | None
    order_id: int
    reason: str = ""


#: So many one CancelAll takes out at most, and after so many no other begins in the same batch: the market waits
#: meanwhile, and for longer than PAUSE_TIMEOUT_MS (see exchange.transaction) no batch may decide.
CANCELLED_AT_ONCE = 1_000


#: Trades that one order may make at once: the market waits meanwhile, as above. As many as one account may have orders.
MOST_FILLS = 10_000
#: After so many trades no other order begins in the same batch, whether a command brings it or a trigger.
BATCH_FILLS = 1_000


@dataclass(slots=True)
class CancelAll:
    """Take all open orders of an account out, of one market or of all; the first CANCELLED_AT_ONCE if there are more.
    With `placed_before` only those.
    """

    account: int
    market_id: int | None
    reason: str = ""
    placed_before: datetime | None = None


@dataclass(slots=True)
class Refresh:
    """Bring this process's view of a market's book up to the database; asks for nothing else."""

    market_id: int


Command = Place | Amend | Cancel | CancelAll | Refresh


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer to a placement that was made before: look the order up."""

    order_id: int


class OrderRefusal(Refusal):
    """A well-formed order that the venue does not take."""


class BadTickSize(OrderRefusal):
    code, title = "bad_tick_size", "Price is not on the tick"


class BadLotSize(OrderRefusal):
    code, title = "bad_lot_size", "Quantity is not on the lot"


class BelowMinNotional(OrderRefusal):
    code, title = "below_min_notional", "Order is too small"


class QuantityOutOfRange(OrderRefusal):
    code, title = "quantity_out_of_range", "Quantity out of range"


class PriceOutOfBand(OrderRefusal):
    code, title = "price_out_of_band", "Price out of band"


class MarketHalted(OrderRefusal):
    code, title = "market_halted", "Market is halted"


class MarketClosed(OrderRefusal):
    code, title = "market_closed", "Market is closed"


class TooManyOpenOrders(OrderRefusal):
    code, title = "too_many_open_orders", "Too many open orders"


class WouldTake(OrderRefusal):
    code, title = "would_take", "Post-only order would take"


class CannotFill(OrderRefusal):
    code, title = "cannot_fill", "Cannot fill the whole order"


class NoLiquidity(OrderRefusal):
    code, title = "no_liquidity", "Nobody to trade with"


class TooManyFills(OrderRefusal):
    code, title = "too_many_fills", "Meets too many orders at once"


class SelfTrade(OrderRefusal):
    code, title = "self_trade", "Would trade with your own order"


class ClientOrderIdReused(OrderRefusal):
    code, status, title = "client_order_id_reused", 409, "client_order_id was used for another order"


class OrderNotOpen(OrderRefusal):
    code, status, title = "order_not_open", 409, "Order is not open"


class OrderPending(OrderRefusal):
    code, status, title = "order_pending", 409, "Order waits for its trigger"


class NotAmendable(OrderRefusal):
    code, status, title = "order_not_amendable", 409, "Order cannot be amended"


class StopWouldTrigger(OrderRefusal):
    code, title = "stop_would_trigger", "Stop is on the wrong side of the market"


class NoMarketPrice(OrderRefusal):
    code, title = "no_market_price", "The market has no price yet"


class BadListPrices(OrderRefusal):
    code, title = "bad_list_prices", "Prices of the list are in the wrong order"


class ExitsUndeliverable(OrderRefusal):
    code, title = "exits_undeliverable", "What the entry buys settles too late for its exits"


class ReplaceMismatch(OrderRefusal):
    code, title = "replace_mismatch", "Not an order that this one can replace"


class BadTrail(OrderRefusal):
    code, title = "bad_trail", "Trailing distance out of range"


class AccountInactive(OrderRefusal):
    code, status, title = "account_inactive", 403, "Account is not active"


class ReduceOnly(OrderRefusal):
    code, title = "reduce_only", "Only reducing is possible"


class PositionMoved(ReduceOnly):
    """What a liquidation's order was decided for is not there any more: another one, or its owner, was faster."""


class InsufficientMargin(OrderRefusal):
    code, title = "insufficient_margin", "Insufficient margin"


class FundsInOrders(OrderRefusal):
    """The account could pay what closing costs, but has set the funds for it aside."""

    code, title = "funds_in_orders", "Open orders hold the funds"


class UnknownOrder(NotFound):
    title = "Unknown order"


class NotAccepting(Unavailable):
    """The venue takes no commands now; nothing was done."""

    code, title = "not_accepting", "Not accepting commands"


#: What the engine's refusals are called at the doors, and what they say.
ENGINE_REFUSALS = {
    "would_take": (
        WouldTake,
        "The order would trade at once; lower the price of a buy, raise that of a sell, or drop post_only.",
    ),
    "cannot_fill": (
        CannotFill,
        "The book cannot fill the whole quantity at this price now; nothing was traded.",
    ),
    "no_liquidity": (
        NoLiquidity,
        "There is no order on the other side; place a limit order instead.",
    ),
    "self_trade": (
        SelfTrade,
        "The best order on the other side is your own; cancel it, or use self_trade_prevention EXPIRE_MAKER.",
    ),
}
#: While orders are collected for an auction.
AUCTION_REFUSALS = {
    **ENGINE_REFUSALS,
    "self_trade": (
        SelfTrade,
        "Orders are collected for an auction, in which this one could trade with your own; cancel that, or take a "
        "price that does not reach it. Until the auction every self_trade_prevention means EXPIRE_TAKER.",
    ),
}


def engine_refusal(name: str, *, collecting: bool) -> Refusal:
    """A new one each time: an exception keeps what it was raised through, so one for all would keep every batch."""
    kind, detail = (AUCTION_REFUSALS if collecting else ENGINE_REFUSALS)[name]
    return kind(detail)
