"""What the database itself must hold: triggers that fire, valid constraints, references that lead somewhere.

The append-only tables carry no foreign-key constraints (each would cost more than the insert), so orphans
are looked for here.
"""

from exchange.audit.check import Check

# Bits of pg_trigger.tgtype.
INSERT, DELETE, UPDATE = 4, 8, 16
DELETE_OR_UPDATE = DELETE | UPDATE

#: (table, trigger, bits of the events that it must fire on)
TRIGGERS = [
    ("accounts_entry", "entries_sum_to_zero", INSERT),
    ("accounts_entry", "entry_never_changes", DELETE_OR_UPDATE),
    ("accounts_journal", "journal_never_changes", DELETE_OR_UPDATE),
    ("exchange_trade", "never_changes", DELETE_OR_UPDATE),
    ("exchange_fill", "never_changes", DELETE_OR_UPDATE),
    ("exchange_bookcommand", "never_changes", UPDATE),
    ("exchange_bookcommand", "goes_only_before_a_checkpoint", DELETE),
    ("exchange_bookcheckpoint", "never_changes", UPDATE),
    ("exchange_bookcheckpoint", "goes_only_before_a_checkpoint", DELETE),
]

#: (table, constraint or unique index)
CONSTRAINTS = [
    ("accounts_balance", "balance_available_not_negative"),
    ("accounts_balance", "balance_reserved_not_negative"),
    ("accounts_balance", "balance_one_per_account_and_asset"),
    ("accounts_entry", "entry_amount_not_zero"),
    ("accounts_account", "account_one_main_per_user"),
    ("accounts_account", "account_one_fee_account_per_market"),
    ("accounts_account", "account_one_outside_world"),
    ("accounts_accountevent", "accounts_accountevent_pkey"),
    ("exchange_order", "order_filled_within_quantity"),
    ("exchange_order", "order_reserved_not_negative"),
    ("exchange_order", "order_client_order_id_once_per_account"),
    ("exchange_bookcommand", "exchange_bookcommand_pkey"),
]

#: (table, its key, column, table that it points to, further condition)
REFERENCES = [
    ("accounts_entry", "id", "journal_id", "accounts_journal", ""),
    ("accounts_entry", "id", "account_id", "accounts_account", ""),
    ("accounts_entry", "id", "asset_id", "marketdata_asset", ""),
    ("accounts_journal", "id", "actor_id", "accounts_user", ""),
    ("accounts_journal", "id", "reference", "exchange_trade", "AND r.kind = 'TRADE'"),
    ("accounts_accountevent", "last_sequence", "account_id", "accounts_account", ""),
    ("exchange_order", "id", "account_id", "accounts_account", ""),
    ("exchange_order", "id", "market_id", "marketdata_market", ""),
    ("exchange_trade", "id", "market_id", "marketdata_market", ""),
    ("exchange_trade", "id", "maker_order_id", "exchange_order", ""),
    ("exchange_trade", "id", "taker_order_id", "exchange_order", ""),
    ("exchange_fill", "id", "trade_id", "exchange_trade", ""),
    ("exchange_fill", "id", "order_id", "exchange_order", ""),
    ("exchange_fill", "id", "account_id", "accounts_account", ""),
    ("exchange_fill", "id", "market_id", "marketdata_market", ""),
    ("exchange_bookcommand", "sequence", "market_id", "marketdata_market", ""),
    ("exchange_bookcommand", "sequence", "order_id", "exchange_order", "AND r.order_id <> 0"),
]


def _values(rows: list[tuple]) -> str:
    texts = [[str(value) if isinstance(value, int) else f"'{value}'" for value in row] for row in rows]
    return ", ".join(f"({', '.join(row)})" for row in texts)


def _orphans() -> str:
    return " UNION ALL ".join(
        f"SELECT '{table}' AS in_table, r.{key} AS row, '{column}' AS refers_by, r.{column} AS to_missing"
        f" FROM {table} r LEFT JOIN {target} t ON t.id = r.{column}"
        f" WHERE t.id IS NULL AND r.{column} IS NOT NULL {condition}"
        for table, key, column, target, condition in REFERENCES
    )


STRUCTURE_CHECKS = [
    Check(
        13,
        "triggers_in_place",
        "the triggers that keep history and journals as they are exist and fire",
        f"(VALUES {_values(TRIGGERS)})",
        f"""
        SELECT w.in_table, w.trigger, t.tgenabled AS enabled, t.tgtype AS fires_on
        FROM (VALUES {_values(TRIGGERS)}) AS w (in_table, trigger, events)
        LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(w.in_table) AND t.tgname = w.trigger AND NOT t.tgisinternal
        WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A') OR (t.tgtype & w.events) <> w.events OR t.tgqual IS
            NOT NULL
        """,
        "the migration that makes them; ALTER TABLE … ENABLE TRIGGER …, then what was written meanwhile",
    ),
    Check(
        13,
        "constraints_in_place",
        "the constraints and unique indexes that hold the rest exist and are valid",
        f"(VALUES {_values(CONSTRAINTS)})",
        f"""
        SELECT w.in_table, w.name, c.convalidated AS constraint_valid, i.indisvalid AS index_valid
        FROM (VALUES {_values(CONSTRAINTS)}) AS w (in_table, name)
        LEFT JOIN pg_constraint c ON c.conrelid = to_regclass(w.in_table) AND c.conname = w.name
        LEFT JOIN pg_index i ON i.indrelid = to_regclass(w.in_table) AND i.indexrelid = to_regclass(w.name)
            AND i.indisunique
        WHERE NOT (COALESCE(c.convalidated, FALSE) OR COALESCE(i.indisvalid AND i.indisready, FALSE))
        """,
        "manage.py migrate, and what was written while it was missing",
    ),
    Check(
        None,
        "references",
        "every reference leads to a row",
        f"(SELECT unnest(ARRAY{[row[0] + '.' + row[2] for row in REFERENCES]}))",
        _orphans(),
        "which row was deleted: nothing with a history ever is",
    ),
]
