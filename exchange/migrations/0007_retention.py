"""Where the journal, the events and the 1s candles begin, once what is older has gone; the journal goes only so far."""

import django.db.models.deletion
from django.db import migrations, models

import marketdata.models

FORWARD = """
DROP TRIGGER never_changes ON exchange_bookcommand;
CREATE TRIGGER never_changes BEFORE UPDATE ON exchange_bookcommand
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();
CREATE TRIGGER never_changes BEFORE UPDATE ON exchange_bookcheckpoint
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();

-- On both tables: what was deleted must lie before a checkpoint that is still there.
CREATE FUNCTION exchange_goes_only_before_a_checkpoint() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT g.market_id, max(g.sequence) AS sequence INTO wrong FROM gone g GROUP BY g.market_id
    HAVING max(g.sequence) > COALESCE(
        (SELECT max(c.sequence) FROM exchange_bookcheckpoint c WHERE c.market_id = g.market_id), 0)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is append-only beyond its checkpoint: DELETE of sequence % of market % refused',
            TG_TABLE_NAME, wrong.sequence, wrong.market_id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER goes_only_before_a_checkpoint AFTER DELETE ON exchange_bookcommand
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION exchange_goes_only_before_a_checkpoint();
CREATE TRIGGER goes_only_before_a_checkpoint AFTER DELETE ON exchange_bookcheckpoint
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION exchange_goes_only_before_a_checkpoint();
"""
BACKWARD = """
DROP TRIGGER goes_only_before_a_checkpoint ON exchange_bookcheckpoint;
DROP TRIGGER goes_only_before_a_checkpoint ON exchange_bookcommand;
DROP FUNCTION exchange_goes_only_before_a_checkpoint();
DROP TRIGGER never_changes ON exchange_bookcheckpoint;
DROP TRIGGER never_changes ON exchange_bookcommand;
CREATE TRIGGER never_changes BEFORE UPDATE OR DELETE ON exchange_bookcommand
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_json_as_written'),
        ("exchange", "0004_ids_in_blocks"),
        ("exchange", "0006_settlement"),
        ('marketdata', '0004_scheduled_status'),
    ]

    operations = [
        migrations.CreateModel(
            name='CandleFloor',
            fields=[
                ('interval_seconds', models.IntegerField(primary_key=True, serialize=False)),
                ('until', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='EventFloor',
            fields=[
                ('account', models.OneToOneField(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='+', serialize=False, to='accounts.account')),
                ('until', models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='BookCheckpoint',
            fields=[
                ('pk', models.CompositePrimaryKey('market_id', 'sequence', blank=True, editable=False, primary_key=True, serialize=False)),
                ('sequence', models.BigIntegerField()),
                ('state_hash', models.CharField(max_length=32)),
                ('last_price', marketdata.models.MoneyField(decimal_places=18, max_digits=38, null=True)),
                ('last_trade_id', models.BigIntegerField(help_text="Of the market's trades up to then; 0 for none.")),
                ('orders', models.JSONField(help_text='Rows of exchange_order: those that rest in queue order, then those that wait.')),
                ('session', models.JSONField(help_text='Where the market stood in its session (exchange.phases.State).', null=True)),
                ('due', models.JSONField(help_text='What was next for orders that wait: [order, kind, reason], in this order.')),
                ('taken_at', models.DateTimeField()),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
            ],
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
