"""A server process whose commit a crash of PostgreSQL swallows; driven by test_swallowed over its standard streams.

Places one order. Its transaction is written but not committed when it says `written` and waits for a line; then its
connection breaks, as if COMMIT had been on its way. Ends with what the client was told, as one line: an order's
status, or a refusal's code.
"""

import os
import sys
import threading
from decimal import Decimal

import django
import psycopg2

COMMIT = ("COMMIT", [])


def swallow_first_commit(bulk) -> None:
    """The writer's first commit stops before COMMIT, and finds its connection dead when it goes on."""
    original, once = bulk.execute_prepared, threading.Lock()

    def swallowing(cursor, statements):
        statements = list(statements)
        if COMMIT not in statements or not once.acquire(blocking=False):
            return original(cursor, statements)
        original(cursor, statements[: statements.index(COMMIT)])
        print("written", flush=True)
        sys.stdin.readline()
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    bulk.execute_prepared = swallowing


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from exchange import orders, validation
    from exchange.sequencer import sequencer
    from marketdata import bulk
    from marketdata.refusals import Refusal

    swallow_first_commit(bulk)
    account, symbol = int(sys.argv[1]), sys.argv[2]
    terms = {"price": Decimal(100), "quantity": Decimal(1), "client_order_id": "swallowed"}
    try:
        placed = orders.place(validation.place_command(account_id=account, symbol=symbol, side="BUY", **terms))
        print(placed.order["status"], flush=True)
    except Refusal as refusal:
        print(refusal.code, flush=True)
    sequencer.stop()


if __name__ == "__main__":
    main()
