"""The ledger's rules, held by the database itself, whoever writes."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION accounts_entries_sum_to_zero() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT journal_id, asset_id, SUM(amount) AS total INTO wrong
    FROM written GROUP BY journal_id, asset_id HAVING SUM(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal % does not balance: asset % sums to %', wrong.journal_id, wrong.asset_id, wrong.total
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- Per statement, not deferred: a journal's entries must come in one INSERT, which is stricter than summing at commit, and costs one
-- aggregate a batch instead of one query a row.
CREATE TRIGGER entries_sum_to_zero AFTER INSERT ON accounts_entry
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION accounts_entries_sum_to_zero();

CREATE FUNCTION accounts_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER entry_never_changes BEFORE UPDATE OR DELETE ON accounts_entry
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();
CREATE TRIGGER journal_never_changes BEFORE UPDATE OR DELETE ON accounts_journal
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();

-- Balances are rewritten all the time: room on each page keeps those updates off the indexes.
ALTER TABLE accounts_balance SET (fillfactor = 50);
ALTER TABLE accounts_account SET (fillfactor = 50);
"""

BACKWARD = """
DROP TRIGGER journal_never_changes ON accounts_journal;
DROP TRIGGER entry_never_changes ON accounts_entry;
DROP TRIGGER entries_sum_to_zero ON accounts_entry;
DROP FUNCTION accounts_never_changes();
DROP FUNCTION accounts_entries_sum_to_zero();
ALTER TABLE accounts_balance RESET (fillfactor);
ALTER TABLE accounts_account RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
