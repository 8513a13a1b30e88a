"""Trades, fills and the market journal are history: the database refuses to rewrite them."""

from django.db import migrations

TABLES = ("exchange_trade", "exchange_fill", "exchange_bookcommand")
FORWARD = "".join(
    f"CREATE TRIGGER never_changes BEFORE UPDATE OR DELETE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();\n"
    for table in TABLES
)
BACKWARD = "".join(f"DROP TRIGGER never_changes ON {table};\n" for table in TABLES)


class Migration(migrations.Migration):
    dependencies = [("exchange", "0001_initial"), ("accounts", "0002_triggers")]
    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        # A resting order is updated a few times, a market's head with every batch.
        migrations.RunSQL(
            "ALTER TABLE exchange_order SET (fillfactor = 80)", "ALTER TABLE exchange_order RESET (fillfactor)"
        ),
        migrations.RunSQL(
            "ALTER TABLE marketdata_market SET (fillfactor = 20)", "ALTER TABLE marketdata_market RESET (fillfactor)"
        ),
    ]
