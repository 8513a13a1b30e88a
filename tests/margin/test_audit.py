"""What the auditor says of positions that were tampered with."""

import pytest

from exchange.audit.position_checks import POSITION_CHECKS
from tests.audit.test_audit import OPEN_HISTORY, audit_after
from tests.margin.test_settlement import trade

A_POSITION = "(SELECT max(id) FROM accounts_position WHERE closed_at IS NULL)"
BREAKS = [
    ("position_is_its_fills", f"UPDATE accounts_position SET quantity = quantity + 0.01 WHERE id = {A_POSITION}"),
    ("position_is_its_fills", f"DELETE FROM accounts_position WHERE id = {A_POSITION}"),
    ("positions_sum_to_zero", f"DELETE FROM accounts_position WHERE id = {A_POSITION}"),
    ("profit_is_cash_and_cost", f"UPDATE accounts_position SET cost = cost + 0.01 WHERE id = {A_POSITION}"),
    ("profit_is_cash_and_cost", "UPDATE accounts_position SET realized_quote = realized_quote + 1"),
    ("positions_well_formed", f"UPDATE accounts_position SET cost = -cost WHERE id = {A_POSITION}"),
    ("profit_is_paid", "UPDATE accounts_position SET realized = realized + 0.01"),
    ("profit_is_paid", "UPDATE accounts_entry SET amount = amount * 2 WHERE amount < 0"),
    ("shortfall_leaves_nothing",
     "INSERT INTO accounts_shortfall"
     " (account_id, market_id, asset_id, trade_id, amount, covered, uncovered, created_at)"
     " SELECT e.account_id, t.market_id, e.asset_id, t.id, 5, 5, 0, t.executed_at FROM exchange_trade t"
     " JOIN accounts_journal j ON j.reference = t.id AND j.kind = 'TRADE' JOIN accounts_entry e ON e.journal_id = j.id"
     " JOIN accounts_account a ON a.id = e.account_id WHERE a.user_id IS NOT NULL LIMIT 1"),
    ("reserved_is_what_orders_need", "UPDATE accounts_position SET reserved = reserved - 1 WHERE reserved > 1"),
    ("order_holds_what_it_needs", "UPDATE exchange_order SET margin_per_lot = 1 WHERE status = 'OPEN'"),
    ("outside_has_no_balance",
     "INSERT INTO accounts_balance (account_id, asset_id, available, reserved)"
     " SELECT a.id, (SELECT min(id) FROM marketdata_asset), 0, 0 FROM accounts_account a WHERE a.kind = 'CLEARING'"),
]  # fmt: skip


def test_every_check_of_positions_can_fail(venue):
    trade(venue, "ann", "BUY", "bob", "1", "EURUSD", "1.10000")
    trade(venue, "ann", "SELL", "bob", "0.4", "EURUSD", "1.10500", reduce_only=True)
    trade(venue, "ann", "BUY", "bob", "0.5", "USDJPY", "150.100")
    venue.order("ann BUY 0.1 EURUSD @ 1.09000")
    assert venue.is_sound()
    missed = [(name, text) for name, text in BREAKS if name not in audit_after(*OPEN_HISTORY, text)]
    assert missed == []


@pytest.mark.parametrize("check", POSITION_CHECKS, ids=lambda check: check.name)
def test_the_table_has_every_check(check):
    assert check.name in {name for name, _ in BREAKS}
