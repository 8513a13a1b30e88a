"""Bugs that the suite must catch: each breaks one thing that the venue promises.

A bug is a piece of code that stands exactly once in its file, and what it becomes. `tests` is where the damage should
show first; the whole suite is asked when it does not.
"""

from typing import NamedTuple


class Bug(NamedTuple):
    """One broken promise."""

    name: str
    path: str
    code: str
    becomes: str
    tests: str


BUGS = (
    Bug(
        "the last to come is the first to trade",
        "exchange/engine/ladder.py",
        """        last = order.previous = level.previous
        order.next = order.level = level
        last.next = level.previous = order
""",
        """        first = order.next = level.next
        order.previous = order.level = level
        first.previous = level.next = order
""",
        "tests/engine",
    ),
    Bug(
        "a lot too few is traded",
        "exchange/engine/book.py",
        "traded = available if available < wanted else wanted",
        "traded = available if available < wanted else max(1, wanted - 1)",
        "tests/engine",
    ),
    Bug(
        "accounts trade with themselves",
        "exchange/engine/book.py",
        "                if maker.account == account:\n                    if prevention",
        "                if maker.account is account is None:\n                    if prevention",
        "tests/engine",
    ),
    Bug(
        "an amended price keeps its place",
        "exchange/engine/book.py",
        "if price == order.price and quantity <= order.quantity:",
        "if quantity <= order.quantity:",
        "tests/engine",
    ),
    Bug(
        "accounts are not locked",
        "accounts/ledger.py",
        "WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
        "WHERE id = ANY(%s::bigint[]) ORDER BY id",
        "tests/races",
    ),
    Bug(
        "markets are not locked",
        "exchange/store.py",
        "WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
        "WHERE id = ANY(%s::bigint[]) ORDER BY id",
        "tests/races",
    ),
    Bug(
        "who locks all at once locks no market",
        "exchange/store.py",
        'before, others = [("BEGIN", []), (MARKETS, [ids])],',
        'before, others = [("BEGIN", [])],',
        "tests/races",
    ),
    Bug(
        "what an order held is released twice",
        "exchange/batch.py",
        "        if not order.is_open() and order.remaining:\n            spot.release_rest(sheet, spec, order)\n",
        "        if order.remaining:\n            spot.release_rest(sheet, spec, order)\n",
        "tests/trading",
    ),
    Bug(
        "a buy does not reserve its fee",
        "exchange/live.py",
        "    return notional - (-notional * worst_rate // RATE_ONE)\n",
        "    return notional\n",
        "tests/trading",
    ),
    Bug(
        "fees are rounded up",
        "exchange/live.py",
        "    return notional * rate // RATE_ONE\n",
        "    return -(-notional * rate // RATE_ONE)\n",
        "tests/trading tests/model",
    ),
    Bug(
        "maker and taker pay each other's fee",
        "exchange/deferred.py",
        "        return match.taker, match.maker, match.taker_fee, match.maker_fee\n",
        "        return match.taker, match.maker, match.maker_fee, match.taker_fee\n",
        "tests/trading tests/model",
    ),
    Bug(
        "a repeated client_order_id is placed again",
        "exchange/batch.py",
        "if cmd.client_order_id is not None and (known :=",
        "if cmd.client_order_id == \"never\" and (known :=",
        "tests/trading tests/api",
    ),
    Bug(
        "another body under the same client_order_id is taken for the first",
        "exchange/admission.py",
        "    if fingerprint != cmd.fingerprint:\n",
        "    if fingerprint is None:\n",
        "tests/trading tests/api",
    ),
    Bug(
        "cancellations are not journalled",
        "exchange/records.py",
        "        self.journal.append((live.spec.id,",
        "        if kind != \"CANCEL\":\n            self.journal.append((live.spec.id,",
        "tests/audit tests/races",
    ),
    Bug(
        "the sequence has a gap",
        "exchange/records.py",
        "        live.sequence += 1\n",
        "        live.sequence += 1 + (kind == \"AMEND\")\n",
        "tests/audit tests/trading",
    ),
    Bug(
        "published before the commit",
        "exchange/batch.py",
        "        self.deltas = self.records.deltas(self.books)\n        return statements\n",
        "        self.deltas = self.records.deltas(self.books)\n"
        "        from exchange import reading\n\n"
        "        for delta in self.deltas:\n            reading.apply(delta)\n        return statements\n",
        "tests/races tests/streams",
    ),
    Bug(
        "a transaction is not committed",
        "exchange/transaction.py",
        '[*statements, ("COMMIT", []), *order]',
        "[*statements, *order]",
        "tests/trading",
    ),
    Bug(
        "the price band is not checked",
        "exchange/admission.py",
        "    if not low <= price <= high:\n",
        "    if not 0 <= price:\n",
        "tests/trading tests/api",
    ),
    Bug(
        "halted markets trade",
        "exchange/admission.py",
        "    if status == Market.Status.OPEN:\n        return\n",
        "    if status != Market.Status.CLOSED:\n        return\n",
        "tests/trading tests/api",
    ),
    Bug(
        "anybody cancels anybody's order",
        "exchange/batch.py",
        "            if order is not None and account in (None, order.account):\n",
        "            if order is not None:\n",
        "tests/trading tests/api tests/security",
    ),
    Bug(
        "reads are older than the database",
        "exchange/barrier.py",
        "    return view is None or view.sequence < sequence\n",
        "    return view is None\n",
        "tests/candles tests/streams tests/races",
    ),
    Bug(
        "a candle forgets its earlier trades",
        "marketdata/candles.py",
        "volume = c.volume + excluded.volume, quote_volume",
        "volume = excluded.volume, quote_volume",
        "tests/candles",
    ),
    Bug(
        "a sale takes too little of the cost along",
        "accounts/holdings.py",
        "    cost = pool.cost * quantity // pool.quantity\n",
        "    cost = pool.cost * quantity // (pool.quantity + 1)\n",
        "tests/accounts",
    ),
    Bug(
        "journals need not balance",
        "accounts/migrations/0001_squashed_0011_disqualified.py",
        "HAVING SUM(amount) <> 0 LIMIT 1;",
        "HAVING SUM(amount) > 1000000000 LIMIT 1;",
        "tests/ledger tests/audit",
    ),
    Bug(
        "a withdrawal is decided twice",
        "accounts/withdrawals.py",
        "            if withdrawal.status != Status.PENDING:\n",
        "            if withdrawal.status == Status.CANCELLED:\n",
        "tests/accounts",
    ),
    Bug(
        "a closed part takes too little of a position's cost along",
        "accounts/netting.py",
        "    return net.cost * lots // abs(net.quantity)\n",
        "    return net.cost * lots // (abs(net.quantity) + 1)\n",
        "tests/margin",
    ),
    Bug(
        "margin is not asked for",
        "exchange/weighing.py",
        "and self.spendable + freed < self.total:\n",
        "and self.spendable + freed < 0:\n",
        "tests/margin",
    ),
    Bug(
        "a position is closed at any price",
        "exchange/weighing.py",
        "        if missing > 0:\n",
        "        if missing < 0:\n",
        "tests/margin",
    ),
    Bug(
        "a resting order is met whose account has parked what it costs",
        "exchange/payable.py",
        "        if funds < 0 and (tab.elsewhere > own or",
        "        if funds < 0 and (tab.elsewhere < own or",
        "tests/margin",
    ),
    Bug(
        "a gain that pays a loss stays in the position's cost, too",
        "accounts/covering.py",
        "    position.cost += taken\n",
        "    position.cost += 0\n",
        "tests/margin",
    ),
    Bug(
        "an order far off the mark rests for its margin alone",
        "exchange/weighing.py",
        "        if not waits:\n",
        "        if waits:\n",
        "tests/margin",
    ),
    Bug(
        "the winner is paid and the loser is not charged",
        "exchange/margin.py",
        "            entries.append((account, asset, due + short))\n",
        "            entries.append((account, asset, max(due, 0) + short))\n",
        "tests/margin",
    ),
    Bug(
        "an order that only reduces may open",
        "exchange/margin.py",
        "        if lots > left:\n",
        "        if lots > left + lots:\n",
        "tests/margin",
    ),
    Bug(
        "a refilled iceberg keeps its place",
        "exchange/engine/book.py",
        """                makers.remove(maker)
                if maker.hidden:
                    self._hide(maker, maker.hidden)
                    makers.append(maker)
                    self.refilled.append(maker)
                    continue
""",
        """                if maker.hidden:
                    left = maker.hidden
                    self._hide(maker, left)
                    makers.reduce(maker, 0)
                    continue
                makers.remove(maker)
""",
        "tests/engine",
    ),
    Bug(
        "stops go by id, not by the price that met them",
        "exchange/engine/triggers.py",
        "reached.sort(key=lambda order: (order.direction * order.stop, order.id))",
        "reached.sort(key=lambda order: order.id)",
        "tests/engine tests/trading/test_triggers.py",
    ),
    Bug(
        "a trailing stop comes back",
        "exchange/engine/triggers.py",
        "return min(stop, order.stop) if order.direction == RISING else max(stop, order.stop)",
        "return stop",
        "tests/engine",
    ),
    Bug(
        "both legs of a pair may trade",
        "exchange/waiting.py",
        "        self.due[order_id] = END\n",
        "        self.due[order_id] = TRIGGER if order_id in self.orders else END\n",
        "tests/trading/test_lists.py",
    ),
    Bug(
        "a stop holds nothing until it is triggered",
        "exchange/live.py",
        "    if order.price is None or order.waits_for is not None:\n        return 0\n",
        "    if order.price is None or order.status == Status.PENDING:\n        return 0\n",
        "tests/trading/test_triggers.py",
    ),
    Bug(
        "what a batch has left is forgotten by a new start",
        "exchange/loading.py",
        "        waiting.due[order.id] = TRIGGER\n",
        "        pass\n",
        "tests/trading/test_triggers.py",
    ),
)
