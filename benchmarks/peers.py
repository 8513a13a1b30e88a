"""The fastest matching engine in pure Python that the package index has, under the plain mix of benchmarks.engine.

    pip install -r requirements-bench.txt

It gets what its documentation asks for: decimal prices (made beforehand), its own order objects, its own ids. Making
the order object is timed for it as it is for ours. It was the fastest of those tried: PyLOB, pyorderbook (which loses
orders under this mix), lightmatchingengine and order-matching did 2 to 80 % of what it does.
"""

import gc
import time
from collections.abc import Callable
from decimal import Decimal
from importlib import metadata

BUY = 1


def akhil4n_orderbook(calls: list[tuple]) -> float:
    """Seconds for all calls."""
    from orderbook import Order, OrderBook, OrderSide

    book, ids = OrderBook(), {}
    prices = {details[3]: Decimal(details[3]) for kind, details in calls if kind == 0}
    started = time.perf_counter()
    for kind, details in calls:
        if kind == 0:
            number, _, side, price, lots = details
            order = Order(OrderSide.BID if side == BUY else OrderSide.ASK, prices[price], lots)
            ids[number] = order.order_id
            book.add_limit_order(order)
        else:
            book.cancel_order(ids[details])
    return time.perf_counter() - started


PEERS: dict[str, Callable[[list[tuple]], float]] = {
    "akhil4n-orderbook": akhil4n_orderbook,
}


def rates(calls: list[tuple], runs: int) -> dict[str, float]:
    """Operations a second of each peer that is installed, by its name and version; the best of so many runs."""
    found = {}
    for name, run in PEERS.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        seconds = []
        for _ in range(runs):
            gc.collect()
            seconds.append(run(calls))
        found[f"{name} {version}"] = len(calls) / min(seconds)
    return found
