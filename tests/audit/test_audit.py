"""The auditor: clean after whatever came through the doors, and naming every promise that is broken behind them."""

import json
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from exchange import audit
from exchange.audit.position_checks import POSITION_CHECKS
from tests.audit import sessions

HISTORY = ("accounts_entry", "accounts_journal", "exchange_trade", "exchange_fill", "exchange_bookcommand")
OPEN_HISTORY = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in HISTORY]
AN_ENTRY = (
    "(SELECT max(e.id) FROM accounts_entry e JOIN accounts_account a ON a.id = e.account_id WHERE a.kind = 'MAIN')"
)
A_TRADE = "(SELECT max(id) FROM exchange_trade)"
A_TRADES_JOURNAL = f"(SELECT id FROM accounts_journal WHERE kind = 'TRADE' AND reference = {A_TRADE})"
A_BALANCE = "(SELECT max(id) FROM accounts_balance WHERE reserved > 0)"
AN_OPEN_BUY = "(SELECT max(id) FROM exchange_order WHERE side = 'BUY' AND status IN ('OPEN', 'PARTIALLY_FILLED'))"
A_CLOSED_ORDER = "(SELECT max(id) FROM exchange_order WHERE status = 'FILLED')"
A_MARKET = "(SELECT id FROM marketdata_market WHERE symbol = 'AAPL')"
AN_ACCOUNT = "(SELECT max(account_id) FROM accounts_accountevent)"

#: What is done behind the venue's back, and the check that must name it.
BREAKS = [
    ("journal_sums", f"UPDATE accounts_entry SET amount = amount + 0.00000001 WHERE id = {AN_ENTRY}"),
    ("asset_sums", f"DELETE FROM accounts_entry WHERE id = {AN_ENTRY}"),
    ("journals_with_entries", f"DELETE FROM accounts_entry WHERE journal_id = {A_TRADES_JOURNAL}"),
    (
        "balances_not_negative",
        "ALTER TABLE accounts_balance DROP CONSTRAINT balance_available_not_negative;"
        f"UPDATE accounts_balance SET available = -1 WHERE id = {A_BALANCE}",
    ),
    (
        "balances_not_negative",
        "ALTER TABLE accounts_balance DROP CONSTRAINT balance_reserved_not_negative;"
        f"UPDATE accounts_balance SET reserved = -0.00000001 WHERE id = {A_BALANCE}",
    ),
    ("balance_is_its_entries", f"UPDATE accounts_balance SET available = available + 1 WHERE id = {A_BALANCE}"),
    ("balance_is_its_entries", f"DELETE FROM accounts_balance WHERE id = {A_BALANCE}"),
    (
        "outside_has_no_balance",
        "INSERT INTO accounts_balance (account_id, asset_id, available, reserved)"
        " SELECT a.id, (SELECT min(id) FROM marketdata_asset), 0, 0 FROM accounts_account a WHERE a.kind = 'OUTSIDE'",
    ),
    ("running_balances", f"UPDATE accounts_entry SET balance_after = balance_after + 1 WHERE id = {AN_ENTRY}"),
    ("running_balances", f"UPDATE accounts_entry SET balance_after = NULL WHERE id = {AN_ENTRY}"),
    ("last_running_balance", f"UPDATE accounts_balance SET available = available + 1 WHERE id = {A_BALANCE}"),
    (
        "reserved_is_what_orders_need",
        f"UPDATE accounts_balance SET reserved = reserved - 0.01, available = available + 0.01 WHERE id = {A_BALANCE}",
    ),
    ("reserved_is_what_orders_need", f"UPDATE exchange_order SET status = 'CANCELLED' WHERE id = {AN_OPEN_BUY}"),
    (
        "order_holds_what_it_needs",
        f"UPDATE exchange_order SET reserved = reserved + 0.00000001 WHERE id = {AN_OPEN_BUY}",
    ),
    ("order_holds_what_it_needs", f"UPDATE exchange_order SET reserved = 1 WHERE id = {A_CLOSED_ORDER}"),
    ("order_holds_what_it_needs", f"UPDATE exchange_order SET taker_rate = 0.5 WHERE id = {AN_OPEN_BUY}"),
    ("filled_is_its_fills", f"DELETE FROM exchange_fill WHERE trade_id = {A_TRADE} AND role = 'TAKER'"),
    ("filled_is_its_fills", f"UPDATE exchange_order SET fee = fee + 0.00000001 WHERE id = {A_CLOSED_ORDER}"),
    ("filled_is_its_fills", f"UPDATE exchange_order SET filled_notional = 0 WHERE id = {A_CLOSED_ORDER}"),
    (
        "filled_within_quantity",
        "ALTER TABLE exchange_order DROP CONSTRAINT order_filled_within_quantity;"
        f"UPDATE exchange_order SET filled_quantity = quantity + 1 WHERE id = {A_CLOSED_ORDER}",
    ),
    ("status_agrees", f"UPDATE exchange_order SET status = 'OPEN' WHERE id = {A_CLOSED_ORDER}"),
    ("status_agrees", f"UPDATE exchange_order SET status = 'FILLED' WHERE id = {AN_OPEN_BUY}"),
    ("terms_agree", f"UPDATE exchange_order SET time_in_force = 'IOC' WHERE id = {AN_OPEN_BUY}"),
    (
        "book_not_crossed",
        f"UPDATE exchange_order SET price = 200 WHERE id = (SELECT max(id) FROM exchange_order"
        f" WHERE market_id = {A_MARKET} AND side = 'BUY' AND status IN ('OPEN', 'PARTIALLY_FILLED'))",
    ),
    ("orders_on_the_grid", f"UPDATE exchange_order SET price = price + 0.001 WHERE id = {AN_OPEN_BUY}"),
    (
        "client_order_id_once",
        "DROP INDEX order_client_order_id_once_per_account;"
        "UPDATE exchange_order o SET client_order_id = x.client_order_id, account_id = x.account_id"
        f" FROM exchange_order x WHERE x.client_order_id = 'bob-1' AND o.id = {AN_OPEN_BUY}",
    ),
    (
        "fills_agree_with_orders",
        f"UPDATE exchange_fill SET account_id = account_id + 1 WHERE trade_id = {A_TRADE} AND role = 'MAKER'",
    ),
    (
        "fills_agree_with_orders",
        f"UPDATE exchange_fill SET fee = fee + 0.00000001 WHERE trade_id = {A_TRADE} AND role = 'MAKER'",
    ),
    ("trade_has_two_fills", f"DELETE FROM exchange_fill WHERE trade_id = {A_TRADE} AND role = 'MAKER'"),
    ("trade_has_two_fills", f"UPDATE exchange_fill SET role = 'TAKER' WHERE trade_id = {A_TRADE}"),
    ("trade_has_two_fills", f"UPDATE exchange_fill SET side = 'BUY' WHERE trade_id = {A_TRADE}"),
    ("trade_has_two_fills", f"UPDATE exchange_trade SET price = price + 0.01 WHERE id = {A_TRADE}"),
    ("trade_has_two_fills", f"DELETE FROM exchange_trade WHERE id = {A_TRADE}"),
    ("trades_on_the_grid", f"UPDATE exchange_trade SET quantity = quantity + 0.000001 WHERE id = {A_TRADE}"),
    ("trade_within_limits", f"UPDATE exchange_trade SET price = price + 0.01 WHERE id = {A_TRADE}"),
    (
        "trade_within_limits",
        "UPDATE exchange_bookcommand j SET command = jsonb_set(j.command::jsonb, '{price}', '1')::json"
        f" FROM exchange_trade t WHERE t.id = {A_TRADE}"
        " AND j.market_id = t.market_id AND j.order_id = t.maker_order_id",
    ),
    (
        "orders_have_the_journals_terms",
        f"UPDATE exchange_order SET quantity = quantity + 1 WHERE id = {AN_OPEN_BUY}",
    ),
    ("trade_journal_once", f"UPDATE accounts_journal SET kind = 'TRANSFER' WHERE id = {A_TRADES_JOURNAL}"),
    (
        "trade_journal_once",
        "INSERT INTO accounts_journal (kind, reference, reason, created_at)"
        f" SELECT kind, reference, reason, created_at FROM accounts_journal WHERE id = {A_TRADES_JOURNAL}",
    ),
    ("trade_is_paid", f"UPDATE accounts_entry SET amount = amount * 2 WHERE journal_id = {A_TRADES_JOURNAL}"),
    (
        "journal_gap_free",
        f"DELETE FROM exchange_bookcommand WHERE market_id = {A_MARKET} AND sequence = 3",
    ),
    ("journal_gap_free", f"UPDATE marketdata_market SET sequence = sequence + 1 WHERE id = {A_MARKET}"),
    ("trade_hangs_on_its_command", f"UPDATE exchange_trade SET sequence = sequence - 1 WHERE id = {A_TRADE}"),
    ("last_price_is_the_last_trades", f"UPDATE marketdata_market SET last_price = 1 WHERE id = {A_MARKET}"),
    (
        "events_gap_free",
        f"DELETE FROM accounts_accountevent WHERE account_id = {AN_ACCOUNT} AND first_sequence = 2",
    ),
    (
        "events_gap_free",
        "UPDATE accounts_accountevent SET events = (events::jsonb - 0)::json"
        f" WHERE account_id = {AN_ACCOUNT} AND first_sequence = 1",
    ),
    ("event_sequence_is_the_last", f"UPDATE accounts_account SET event_sequence = 999 WHERE id = {AN_ACCOUNT}"),
    (
        "order_in_journal_once",
        f"DELETE FROM exchange_bookcommand WHERE kind = 'PLACE' AND order_id = {AN_OPEN_BUY}",
    ),
    (
        "order_in_journal_once",
        "UPDATE exchange_order SET status = 'EXPIRED'"
        " WHERE id = (SELECT max(id) FROM exchange_order WHERE status = 'CANCELLED')",
    ),
    ("candles_equal_the_tape", f"UPDATE exchange_trade SET quantity = quantity + 1 WHERE id = {A_TRADE}"),
    ("candles_equal_the_tape", "DELETE FROM marketdata_candle WHERE interval_seconds = 1"),
    ("triggers_in_place", "ALTER TABLE exchange_trade DISABLE TRIGGER never_changes"),
    ("triggers_in_place", "DROP TRIGGER entries_sum_to_zero ON accounts_entry"),
    (
        "triggers_in_place",
        "DROP TRIGGER never_changes ON exchange_fill;"
        "CREATE TRIGGER never_changes BEFORE DELETE ON exchange_fill FOR EACH STATEMENT"
        " EXECUTE FUNCTION accounts_never_changes()",
    ),
    ("constraints_in_place", "ALTER TABLE accounts_balance DROP CONSTRAINT balance_reserved_not_negative"),
    ("constraints_in_place", "DROP INDEX order_client_order_id_once_per_account"),
    ("references", f"UPDATE accounts_entry SET account_id = 999999999 WHERE id = {AN_ENTRY}"),
    ("references", f"DELETE FROM exchange_order WHERE id = {A_CLOSED_ORDER}"),
    (
        "references",
        "UPDATE accounts_journal SET actor_id = 999999999 WHERE id = (SELECT min(id) FROM accounts_journal)",
    ),
]


def broken(findings) -> dict[str, int]:
    return {finding.name: finding.violations for finding in findings if finding.violations}


def audit_after(*statements: str) -> dict[str, int]:
    """What the audit finds after these statements, which are then undone."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        found = broken(audit.look(cursor))
        transaction.set_rollback(True)
    return found


def test_every_check_can_fail_and_names_what_was_broken(venue):
    sessions.something_of_everything(venue)
    assert broken(audit.run()) == {}
    missed = [
        (name, statement)
        for name, statement in BREAKS
        if name not in audit_after(*([] if name.endswith("_in_place") else OPEN_HISTORY), statement)
    ]
    assert missed == []
    assert broken(audit.run()) == {}


def test_the_table_above_has_every_check():
    elsewhere = {check.name for check in POSITION_CHECKS}  # tests/margin/test_audit.py
    assert {name for name, _ in BREAKS} == {check.name for check in audit.CHECKS} - elsewhere


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_random_session_leaves_nothing_to_find(venue, seed):
    sessions.random_session(venue, seed=seed, commands=250)
    findings = audit.run()
    assert broken(findings) == {}
    rows = {finding.name: finding.rows for finding in findings}
    assert rows["trade_has_two_fills"] > 20 and rows["journal_gap_free"] > 100


def test_a_market_order_that_only_removed_an_own_order_expires(venue):
    sessions.fund(venue)
    venue.order("ann SELL 1 AAPL @ 100")
    venue.order("bob SELL 1 AAPL @ 101")
    terms = {"quote_quantity": Decimal("100.5"), "self_trade_prevention": "EXPIRE_MAKER"}
    order = venue.order("ann BUY 1 AAPL MARKET", **terms)
    assert (order["status"], order["filled_quantity"]) == ("EXPIRED", "0")
    assert broken(audit.run()) == {}


def test_an_empty_venue_is_clean(transactional_db):
    assert broken(audit.run()) == {}


def test_offenders_are_counted_in_all_and_shown_in_part(venue):
    sessions.fund(venue)
    for _ in range(audit.SHOWN_ROWS + 5):
        venue.order("ann BUY 1 AAPL @ 100")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE exchange_order SET reserved = reserved + 1")
        finding = next(one for one in audit.look(cursor) if one.name == "order_holds_what_it_needs")
        transaction.set_rollback(True)
    assert (finding.violations, len(finding.offenders)) == (audit.SHOWN_ROWS + 5, audit.SHOWN_ROWS)
    assert finding.offenders[0]["needed"] == "100.1" and finding.offenders[0]["reserved"] == "101.1"


def test_the_audit_neither_waits_for_writers_nor_makes_them_wait(venue):
    sessions.fund(venue)
    with audit.snapshot() as cursor:
        before = broken(audit.look(cursor))
        venue.order("ann BUY 1 AAPL @ 100")  # through the sequencer's own connection, meanwhile
        after = broken(audit.look(cursor))
        cursor.execute("SELECT count(*) FROM exchange_order")
        assert cursor.fetchone()[0] == 0, "the snapshot must not see what came after it"
    assert before == after == {}


def test_the_command_prints_a_table_and_exits_1_with_the_offending_rows(venue, capsys):
    sessions.fund(venue)
    call_command("audit")
    clean = capsys.readouterr().out
    assert "the entries of a journal sum to zero per asset" in clean and f"all {len(audit.CHECKS)} checks hold" in clean
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_balance SET available = available + 1 WHERE id = (SELECT min(id) FROM accounts_balance)"
        )
    with pytest.raises(SystemExit) as exit_:
        call_command("audit")
    out = capsys.readouterr().out
    assert exit_.value.code == 1
    assert "balance_is_its_entries" in out and "difference=1" in out and "look at:" in out


def test_the_command_speaks_json_and_is_remembered(venue, capsys):
    sessions.fund(venue)
    call_command("audit", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["violations"], report["checks"]) == (0, len(audit.CHECKS))
    assert {"number", "name", "invariant", "rows", "violations", "milliseconds", "offenders", "look"} == set(
        report["findings"][0]
    )
    assert audit.last() == report
