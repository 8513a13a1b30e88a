"""Orders that belong together, and an order in the place of another: each taken whole or not at all.

OCO: a take-profit order in the book and a stop that waits, of one side and quantity. Only one of them can come to
trade, so the stop holds no more than it needs above the other.
BRACKET: an entry, and the two exits for what it fills. The exits hold nothing until the entry has ended. One that buys
is refused where trades settle later: its exits could not deliver what the entry has bought.
What happens between the members afterwards is stated in exchange.waiting.

A list is named by the id of its first order: the take-profit of an OCO, the entry of a bracket. That one's
client_order_id makes the list idempotent.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field, fields

from accounts.ledger import Sheet
from exchange import commands as c
from exchange import deferred, following, spot, validation
from exchange.books import SIDE_NAMES, LiveBook
from exchange.commands import Place
from exchange.conditions import market_price
from exchange.engine.book import BUY
from exchange.live import LiveOrder, Status, held, sharable
from exchange.models import ListKind, ListRole
from exchange.waiting import OTHER_LEG
from marketdata.refusals import Refusal


@dataclass(slots=True)
class PlaceList(Place):
    """Orders that belong together: the first of them, and the exits (for a bracket two, for an OCO the stop)."""

    kind: str = ListKind.OCO
    exits: list[Place] = field(default_factory=list)

    @property
    def orders(self) -> int:
        return 1 + len(self.exits)

    def apply(self, batch):
        return place(batch, self)


@dataclass(slots=True)
class Replace(Place):
    """An order in the place of an open one of the same market and side."""

    order_id: int = 0

    def apply(self, batch):
        return replace(batch, self)


# The commands


def list_command(*, kind: str, stop_price, take_profit_price, stop_limit_price=None, **terms) -> PlaceList:
    """A PlaceList for the sequencer, or a refusal. `terms` are those of the entry; of an OCO only what its legs share.
    """
    stop_type = "STOP_LOSS" if stop_limit_price is None else "STOP_LIMIT"
    names = ("account_id", "symbol", "quantity", "self_trade_prevention", "reduce_only", "spec")
    shared = {name: terms[name] for name in names if name in terms}
    side = terms["side"]
    if kind == ListKind.BRACKET:
        plain = terms.get("type", "LIMIT") in validation.PLAIN_TYPES
        validation.require(plain, "type", "The entry is a LIMIT or a MARKET order.")
        first = validation.place_command(**terms)
        side = "SELL" if side == "BUY" else "BUY"
        legs = [validation.place_command(**shared, side=side, price=take_profit_price)]
    else:
        for name in ("price", "type", "time_in_force"):
            validation.require(terms.get(name) is None, name, f"An OCO has no {name} of its own.")
        name = terms.get("client_order_id")
        first = validation.place_command(
            **shared, side=side, price=take_profit_price, post_only=True, client_order_id=name
        )
        legs = []
    stop = validation.place_command(
        **shared, side=side, type=stop_type, stop_price=stop_price, price=stop_limit_price
    )
    return _made(PlaceList, first, kind=kind, exits=[*legs, stop])


def replace_command(*, order_id: int, **terms) -> Replace:
    """A Replace for the sequencer, or a refusal."""
    return replacing(validation.place_command(**terms), order_id)


def replacing(command: Place, order_id: int) -> Replace:
    """The order of this command, in the place of that one."""
    return _made(Replace, command, order_id=order_id)


def _made(form: type, first: Place, **more):
    """The command with the fields of a Place; its fingerprint says what else it is."""
    command = form(**{each.name: getattr(first, each.name) for each in fields(Place)}, **more)
    if command.client_order_id is not None:
        parts = [first.fingerprint, form.__name__]
        for leg in more.get("exits", ()):
            parts.append(validation.fingerprint(leg))
        parts += [more.get("kind"), more.get("order_id")]
        command.fingerprint = validation.digest(parts)
    return command


# Under the lock


def place(batch, cmd: PlaceList):
    """Take all orders of the list, or refuse; the order objects, the first order's first."""
    if known := batch.replay(cmd):
        return known
    live = batch.market_of(cmd)
    return _bracket(batch, cmd, live) if cmd.kind == ListKind.BRACKET else _oco(batch, cmd, live)


def _oco(batch, cmd: PlaceList, live: LiveBook) -> list[dict]:
    (stop_cmd,) = cmd.exits
    first, plan = batch.admit(_named(cmd, cmd.kind, ListRole.TAKE_PROFIT), live)
    try:
        stop = batch.check(_named(stop_cmd, cmd.kind, ListRole.STOP_LOSS), live)
        _check_prices(live, first, stop, market_price(live))
        stop.shared = sharable(live.spec, stop, held(live.spec, first))
        batch.desk(live).hold(batch.sheet, live.spec, stop)
    except Refusal:
        spot.release_rest(batch.sheet, live.spec, first)
        raise
    first.list_id = stop.list_id = first.id
    answers = [batch.accept(cmd, live, first, plan)]
    return [*answers, batch.wait(stop_cmd, live, stop)]


def _bracket(batch, cmd: PlaceList, live: LiveBook) -> list[dict]:
    if cmd.side == BUY and deferred.is_deferred(live):
        days = live.spec.rules.settlement_days
        raise c.ExitsUndeliverable(
            f"{live.spec.symbol} settles T+{days}: what the entry buys could not be sold by its exits before it is "
            "delivered. Place the entry alone, and an OCO once it has settled."
        )
    profit_cmd, stop_cmd = cmd.exits
    entry = batch.check(_named(cmd, cmd.kind, ListRole.ENTRY), live)
    profit = batch.check(_named(profit_cmd, cmd.kind, ListRole.TAKE_PROFIT), live)
    stop = batch.check(_named(stop_cmd, cmd.kind, ListRole.STOP_LOSS), live)
    _check_prices(live, profit, stop, entry.price or market_price(live))
    plan = batch.fund(live, entry)
    entry.list_id = profit.list_id = stop.list_id = profit.waits_for = stop.waits_for = entry.id
    # The exits first: an entry that fills at once finds them.
    waiting = [batch.wait(profit_cmd, live, profit), batch.wait(stop_cmd, live, stop)]
    return [batch.accept(cmd, live, entry, plan), *waiting]


def _named(cmd: Place, kind: str, role: str) -> Place:
    cmd.more = {**(cmd.more or {}), "list_kind": str(kind), "list_role": str(role)}
    return cmd


def _check_prices(live: LiveBook, profit: LiveOrder, stop: LiveOrder, middle: int | None) -> None:
    """A sell's profit is above the middle and its stop below, a buy's the other way round."""
    side = profit.side
    if middle is not None and side * profit.price < side * middle < side * stop.stop:
        return
    spec = live.spec
    if middle is None and side * profit.price < side * stop.stop:
        return
    low, high = ("stop_price", "take_profit_price") if side < 0 else ("take_profit_price", "stop_price")
    at = f" ({spec.price_text(middle)})" if middle is not None else ""
    raise c.BadListPrices(f"It must be {low} < the entry's or the market's price{at} < {high}.")


def replace(batch, cmd: Replace):
    """Take the new order and cancel the old one, or refuse and leave it where it is. With one exit of a list the other
    goes too, and what that holds is there for the new order.
    """
    if known := batch.replay(cmd):
        return known
    live, old = batch.open_order(cmd.account, cmd.order_id)
    if live.spec.id != cmd.spec.id or old.side != cmd.side:
        terms = f"a {SIDE_NAMES[old.side]} of {live.spec.symbol}"
        raise c.ReplaceMismatch(f"Order {old.id} is {terms}, and so must be the one in its place.")
    rival = live.waiting.rival(old)
    with _out_of_the_way(batch.sheet, live, [old] if rival is None else [old, rival]):
        order, plan = batch.admit(cmd, live)
    batch.take_out(live, old)
    if rival is not None:
        following.take_out(batch, live, rival, Status.EXPIRED, OTHER_LEG)
    return batch.accept(cmd, live, order, plan)


@contextmanager
def _out_of_the_way(sheet: Sheet, live: LiveBook, orders: list[LiveOrder]):
    """Within it nothing counts the orders that are to go against the one in their place: an open one, and the exit that
    ends with it. After it they live as before, without funds; on a refusal with them.
    """
    funds = [(one.account, spot.reserve_asset(live.spec, one.side), held(live.spec, one)) for one in orders]
    reduces = [one for one in orders if one.id in live.reducing.get(one.account, ())]  # one that waits does not, yet
    for order, reserve in zip(orders, funds, strict=True):
        sheet.release(*reserve)
        live.open_orders.drop(order)
        live.reducing.drop(order)
    try:
        yield
    except Exception:
        for reserve in funds:
            sheet.reserve(*reserve)
        raise
    finally:
        for order in orders:
            live.open_orders.add(order)
        for order in reduces:
            live.reducing.note(order)
