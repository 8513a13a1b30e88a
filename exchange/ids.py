"""Ids taken ahead: the round trip that commits one batch brings the ids of the next.

Within a market ids must ascend with time (the tape and the candles rely on it), so ids in stock are only good while
nobody else has written there since they were taken: whoever notices that another process has (see
exchange.registry) clears the stock.
"""

from collections import deque

from marketdata import bulk

SEQUENCES = (
    "exchange_order_id_seq", "exchange_trade_id_seq", "accounts_journal_id_seq", "accounts_position_id_seq",
)  # fmt: skip
ORDER, TRADE, JOURNAL, POSITION = range(4)
#: What the sequences count up by (a migration says so to the database): one value stands for this many ids.
BLOCK = 64
LEAST = 16

NEXT = " UNION ALL ".join(
    f"SELECT {kind}, nextval('{sequence}') FROM generate_series(1, %s::integer)"
    for kind, sequence in enumerate(SEQUENCES)
)


class IdStock:
    """Unused ids of each kind, ascending. Belongs to the writer."""

    def __init__(self):
        self._ids = tuple(deque() for _ in SEQUENCES)
        self._wanted = [LEAST] * len(SEQUENCES)

    def take(self, cursor, kind: int, count: int) -> list[int]:
        """`count` fresh ids; from the stock, else from the database."""
        stock = self._ids[kind]
        self._wanted[kind] = max(LEAST, 2 * count, self._wanted[kind] * 3 // 4)
        if len(stock) < count:
            blocks = _blocks(count - len(stock))
            cursor.execute("SELECT %s, nextval(%s) FROM generate_series(1, %s)", [kind, SEQUENCES[kind], blocks])
            self.receive(cursor.fetchall())
        return [stock.popleft() for _ in range(count)]

    def order(self) -> list[bulk.Statement]:
        """The statement that brings the stock up to about twice of what a batch uses; none while there is enough."""
        missing = [wanted - len(stock) for wanted, stock in zip(self._wanted, self._ids, strict=True)]
        if all(2 * gap < wanted for gap, wanted in zip(missing, self._wanted, strict=True)):
            return []
        return [(NEXT, [_blocks(max(0, gap)) for gap in missing])]

    def receive(self, rows: list[tuple[int, int]]) -> None:
        """What was asked for: (kind, first id of a block)."""
        for kind, first in rows:
            self._ids[kind].extend(range(first, first + BLOCK))

    def clear(self) -> None:
        for stock in self._ids:
            stock.clear()


def _blocks(count: int) -> int:
    """How many blocks hold that many ids."""
    return -(-count // BLOCK)
