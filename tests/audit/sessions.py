"""Trading sessions for the auditor to look at: one that has something of everything, and random ones by seed."""

from decimal import Decimal
from random import Random

from exchange import orders
from marketdata.refusals import Refusal

NAMES = ("ann", "bob", "cyd", "dan")
SYMBOLS = {"AAPL": ("AAPL", Decimal("0.01"), Decimal(1)), "BTC_USDT": ("BTC", Decimal("0.01"), Decimal("0.00001"))}


def fund(venue) -> None:
    for name in NAMES:
        venue.trader(name, USD=100_000, USDT=100_000, AAPL=1_000, BTC=10)


def something_of_everything(venue) -> None:
    """Rests, partial and whole fills, amendments that keep and lose their place, every ending; both markets."""
    fund(venue)
    venue.order("ann BUY 10 AAPL @ 99")
    kept = venue.order("bob BUY 20 AAPL @ 99")
    lost = venue.order("cyd BUY 5 AAPL @ 98")
    venue.order("ann SELL 7 AAPL @ 101")
    venue.order("bob SELL 10 AAPL @ 102", client_order_id="bob-1")
    venue.amend("bob", kept, quantity=15)
    venue.amend("cyd", lost, price="99.5", quantity=6)
    venue.order("dan SELL 8 AAPL @ 99")
    venue.order("dan BUY 9 AAPL MARKET")
    venue.order("cyd BUY 30 AAPL @ 103 IOC")
    venue.cancel("dan", venue.order("dan BUY 4 AAPL @ 97"))
    venue.order("dan BUY 1 AAPL @ 97 POST", client_order_id="dan-1")
    venue.order("ann SELL 3 AAPL @ 105")
    venue.order("ann BUY 0.12345 BTC_USDT @ 60000.01")
    venue.order("bob SELL 0.01 BTC_USDT MARKET")
    venue.order("cyd SELL 1 BTC_USDT MARKET", quote_quantity=Decimal("1000.5"))
    venue.order("ann SELL 0.001 BTC_USDT @ 60000 IOC", self_trade_prevention="EXPIRE_MAKER")


def random_session(venue, *, seed: int, commands: int) -> None:
    """Placements of all kinds, amendments and cancellations by four traders, in batches of up to eight."""
    fund(venue)
    random = Random(seed)
    placed: list[tuple[str, dict]] = []
    while commands > 0:
        count = random.randint(1, 8)
        commands -= count
        if random.random() < 0.7:
            batch = [_sentence(random) for _ in range(count)]
            built = [_command(venue, *one) for one in batch]
            for (sentence, _), outcome in zip(batch, orders.place_many(built), strict=True):
                if isinstance(outcome, orders.Placed):
                    placed.append((sentence.split()[0], outcome.order))
        elif placed:
            for _ in range(count):
                _change(venue, random, *random.choice(placed[-40:]))


def _sentence(random: Random) -> tuple[str, dict]:
    symbol = random.choice(list(SYMBOLS))
    _, tick, lot = SYMBOLS[symbol]
    quantity = lot * random.randint(1, 40)
    price = 100 + tick * random.randint(-300, 300)
    how = random.choice(
        [f"@ {price}"] * 6 + [f"@ {price} IOC", f"@ {price} FOK", f"@ {price} POST", "MARKET", "budget"]
    )
    terms = {"self_trade_prevention": random.choice(["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"])}
    if how == "budget":
        how, terms["quote_quantity"] = "MARKET", quantity * 100
    return f"{random.choice(NAMES)} {random.choice(['BUY', 'SELL'])} {quantity} {symbol} {how}", terms


def _command(venue, sentence: str, terms: dict):
    try:
        return venue.command(sentence, **terms)
    except Refusal as refusal:
        return refusal


def _change(venue, random: Random, name: str, order: dict) -> None:
    _, tick, lot = SYMBOLS[order["symbol"]]
    try:
        if order["price"] is None or random.random() < 0.4:
            venue.cancel(name, order)
        elif random.random() < 0.5:
            venue.amend(name, order, quantity=Decimal(order["quantity"]) + lot * random.randint(-5, 5))
        else:
            venue.amend(name, order, price=Decimal(order["price"]) + tick * random.randint(-100, 100))
    except Refusal:
        pass  # the order has ended meanwhile, or cannot have these terms: refusals are part of a session
