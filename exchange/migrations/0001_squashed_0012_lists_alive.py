"""All of exchange's tables as they are after 0012: a new database makes them in one step, an old one has them."""

import django.db.models.deletion
from django.db import migrations, models

import marketdata.models

HISTORY = ("exchange_trade", "exchange_fill")
PRUNED = ("exchange_bookcommand", "exchange_bookcheckpoint")
FORWARD = (
    "".join(
        f"CREATE TRIGGER never_changes BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();\n"
        for table in HISTORY
    )
    + "".join(
        f"CREATE TRIGGER never_changes BEFORE UPDATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();\n"
        for table in PRUNED
    )
    + """
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

-- A resting order is updated a few times, a market's head with every batch.
ALTER TABLE exchange_order SET (fillfactor = 80);
ALTER TABLE marketdata_market SET (fillfactor = 20);

-- The writer takes ids in blocks, see exchange.ids. Those of journals are told so here, as they were by 0004: accounts'
-- tables may be of an older first start that was stopped before it came to these.
ALTER SEQUENCE accounts_journal_id_seq INCREMENT BY 64;
ALTER SEQUENCE exchange_order_id_seq INCREMENT BY 64;
ALTER SEQUENCE exchange_trade_id_seq INCREMENT BY 64;
"""
)
BACKWARD = (
    "".join(f"DROP TRIGGER goes_only_before_a_checkpoint ON {table};\n" for table in PRUNED)
    + "DROP FUNCTION exchange_goes_only_before_a_checkpoint();\n"
    + "".join(f"DROP TRIGGER never_changes ON {table};\n" for table in HISTORY + PRUNED)
    + "ALTER TABLE marketdata_market RESET (fillfactor);\n"
)


class Migration(migrations.Migration):

    replaces = [
        ('exchange', '0001_initial'),
        ('exchange', '0002_triggers'),
        ('exchange', '0003_json_as_written'),
        ('exchange', '0004_ids_in_blocks'),
        ('exchange', '0005_lifecycle'),
        ('exchange', '0006_settlement'),
        ('exchange', '0007_retention'),
        ('exchange', '0008_margin'),
        ('exchange', '0009_risk'),
        ('exchange', '0010_live_of_account'),
        ('exchange', '0011_due_in_market'),
        ('exchange', '0012_lists_alive'),
    ]

    initial = True

    dependencies = [
        ('accounts', '0001_squashed_0011_disqualified'),
        ('marketdata', '0001_squashed_0008_marks'),
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
        migrations.CreateModel(
            name='BookCommand',
            fields=[
                ('pk', models.CompositePrimaryKey('market_id', 'sequence', blank=True, editable=False, primary_key=True, serialize=False)),
                ('sequence', models.BigIntegerField()),
                ('kind', models.CharField(choices=[('PLACE', 'Place'), ('AMEND', 'Amend'), ('CANCEL', 'Cancel'), ('TRIGGER', 'Trigger'), ('ARM', 'Arm'), ('EXPIRE', 'Expire'), ('PHASE', 'Phase'), ('UNCROSS', 'Uncross'), ('MARK', 'Mark')], max_length=8)),
                ('order_id', models.BigIntegerField(help_text='0 for what concerns the whole market.')),
                ('command', marketdata.models.WrittenJSONField()),
                ('created_at', models.DateTimeField()),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
            ],
        ),
        migrations.CreateModel(
            name='Liquidation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('outcome', models.CharField(choices=[('UNDER_WAY', 'Under way'), ('RESTORED', 'Restored by closing a part'), ('CLOSED', 'Everything closed'), ('UNFILLED', 'Not enough to trade with')], default='UNDER_WAY', max_length=9)),
                ('equity_before', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('used_before', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('equity_after', marketdata.models.MoneyField(decimal_places=18, max_digits=38, null=True)),
                ('used_after', marketdata.models.MoneyField(decimal_places=18, max_digits=38, null=True)),
                ('orders_cancelled', models.PositiveIntegerField(default=0)),
                ('orders_placed', models.PositiveIntegerField(default=0)),
                ('began_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('account', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='liquidations', to='accounts.account')),
                ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Order',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('client_order_id', models.CharField(blank=True, max_length=64, null=True)),
                ('fingerprint', models.CharField(editable=False, help_text='Of the placing body, to tell a replay from a reuse.', max_length=32, null=True)),
                ('side', models.CharField(choices=[('BUY', 'Buy'), ('SELL', 'Sell')], max_length=4)),
                ('type', models.CharField(choices=[('LIMIT', 'Limit'), ('MARKET', 'Market'), ('STOP_LOSS', 'Stop Loss'), ('STOP_LIMIT', 'Stop Limit'), ('TAKE_PROFIT', 'Take Profit'), ('TAKE_PROFIT_LIMIT', 'Take Profit Limit'), ('TRAILING_STOP', 'Trailing Stop')], max_length=20)),
                ('time_in_force', models.CharField(choices=[('GTC', 'Gtc'), ('IOC', 'Ioc'), ('FOK', 'Fok'), ('DAY', 'Day'), ('GTD', 'Gtd'), ('AUC', 'Auction only')], max_length=3)),
                ('post_only', models.BooleanField(default=False)),
                ('self_trade_prevention', models.CharField(choices=[('EXPIRE_TAKER', 'Expire Taker'), ('EXPIRE_MAKER', 'Expire Maker'), ('EXPIRE_BOTH', 'Expire Both')], max_length=12)),
                ('price', marketdata.models.MoneyField(decimal_places=18, max_digits=38, null=True)),
                ('stop_price', marketdata.models.MoneyField(decimal_places=18, help_text="Where it is triggered; a trailing stop's moves.", max_digits=38, null=True)),
                ('quantity', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('quote_quantity', marketdata.models.MoneyField(decimal_places=18, help_text='The budget of a market order by amount; its quantity is what that bought.', max_digits=38, null=True)),
                ('filled_quantity', marketdata.models.MoneyField(decimal_places=18, default=0, max_digits=38)),
                ('filled_notional', marketdata.models.MoneyField(decimal_places=18, default=0, max_digits=38)),
                ('fee', marketdata.models.MoneyField(decimal_places=18, default=0, help_text='Paid so far, in the quote asset.', max_digits=38)),
                ('reserved', marketdata.models.MoneyField(decimal_places=18, default=0, max_digits=38)),
                ('maker_rate', marketdata.models.RateField(decimal_places=8, max_digits=10)),
                ('taker_rate', marketdata.models.RateField(decimal_places=8, max_digits=10)),
                ('status', models.CharField(choices=[('PENDING', 'Pending'), ('OPEN', 'Open'), ('PARTIALLY_FILLED', 'Partially Filled'), ('FILLED', 'Filled'), ('CANCELLED', 'Cancelled'), ('REJECTED', 'Rejected'), ('EXPIRED', 'Expired')], max_length=16)),
                ('priority', models.BigIntegerField(help_text='The market sequence at which it took its place in the queue.')),
                ('created_at', models.DateTimeField()),
                ('updated_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='orders', to='accounts.account')),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='orders', to='marketdata.market')),
                ('displayed_quantity', marketdata.models.MoneyField(decimal_places=18, help_text='What an iceberg order shows at a time.', max_digits=38, null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('list_id', models.BigIntegerField(help_text='The first order of the list that it belongs to.', null=True)),
                ('list_kind', models.CharField(choices=[('OCO', 'Oco'), ('BRACKET', 'Bracket')], max_length=8, null=True)),
                ('list_role', models.CharField(choices=[('ENTRY', 'Entry'), ('TAKE_PROFIT', 'Take Profit'), ('STOP_LOSS', 'Stop Loss')], max_length=12, null=True)),
                ('waits_for_id', models.BigIntegerField(help_text='The order whose fill brings it to life.', null=True)),
                ('place', models.IntegerField(db_default=0, default=0, help_text='Among those placed at the same sequence.')),
                ('reason', models.CharField(db_default='', default='', help_text='Why the venue ended it, or nothing.', max_length=32)),
                ('trail_amount', marketdata.models.MoneyField(decimal_places=18, max_digits=38, null=True)),
                ('trail_percent', marketdata.models.RateField(decimal_places=8, max_digits=10, null=True)),
                ('triggered_at', models.DateTimeField(null=True)),
                ('visible_quantity', marketdata.models.MoneyField(decimal_places=18, help_text='What it shows now, in the queue.', max_digits=38, null=True)),
                ('margin_per_lot', marketdata.models.MoneyField(decimal_places=18, help_text="Of a margin market's order: what each open lot has reserved, in the settlement asset.", max_digits=38, null=True)),
                ('reduce_only', models.BooleanField(default=False)),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', 'id'], name='order_of_account'), models.Index(condition=models.Q(('status__in', ['FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED']), _negated=True), fields=['account', 'id'], include=('market', 'status'), name='order_live_of_account'), models.Index(condition=models.Q(('status__in', ['PENDING', 'OPEN', 'PARTIALLY_FILLED'])), fields=['market', 'id'], name='order_live_in_market'), models.Index(condition=models.Q(('expires_at__isnull', False), ('status__in', ['PENDING', 'OPEN', 'PARTIALLY_FILLED'])), fields=['expires_at'], name='order_expiring'), models.Index(condition=models.Q(('status', 'PENDING'), ('triggered_at__isnull', False)), fields=['market'], name='order_due_in_market'), models.Index(condition=models.Q(('list_id__isnull', False)), fields=['list_id'], name='order_of_list'), models.Index(condition=models.Q(('list_id__isnull', False), ('status__in', ['PENDING', 'OPEN', 'PARTIALLY_FILLED'])), fields=['list_id'], name='order_live_of_list')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('client_order_id__isnull', False)), fields=('account', 'client_order_id'), name='order_client_order_id_once_per_account'), models.CheckConstraint(condition=models.Q(('filled_quantity__gte', 0), ('filled_quantity__lte', models.F('quantity'))), name='order_filled_within_quantity'), models.CheckConstraint(condition=models.Q(('reserved__gte', 0)), name='order_reserved_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='Trade',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sequence', models.BigIntegerField(help_text='The market sequence of the command that made it.')),
                ('price', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('quantity', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('taker_side', models.CharField(choices=[('BUY', 'Buy'), ('SELL', 'Sell')], max_length=4)),
                ('executed_at', models.DateTimeField()),
                ('maker_order', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='exchange.order')),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='trades', to='marketdata.market')),
                ('taker_order', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='exchange.order')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['market', 'id'], name='trade_tape')],
            },
        ),
        migrations.CreateModel(
            name='RiskStop',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uncovered', marketdata.models.MoneyField(decimal_places=18, help_text='What nobody has paid, of the shortfalls since the last stop.', max_digits=38)),
                ('last_shortfall_id', models.BigIntegerField()),
                ('symbols', models.CharField(blank=True, help_text='The markets that were stopped.', max_length=1000)),
                ('stopped_at', models.DateTimeField()),
                ('asset', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Settlement',
            fields=[
                ('trade', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='settlement', serialize=False, to='exchange.trade')),
                ('quantity', marketdata.models.MoneyField(decimal_places=18, help_text='In the base asset: what the seller delivers.', max_digits=38)),
                ('notional', marketdata.models.MoneyField(decimal_places=18, help_text='In the quote asset.', max_digits=38)),
                ('buyer_fee', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('seller_fee', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('due_at', models.DateTimeField()),
                ('settled_at', models.DateTimeField(null=True)),
                ('error', models.CharField(blank=True, default='', help_text='Why it could not be settled when due.', max_length=200)),
                ('buyer', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
                ('seller', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
            ],
            options={
                'ordering': ['-trade_id'],
                'indexes': [models.Index(condition=models.Q(('settled_at__isnull', True)), fields=['due_at'], name='settlement_due'), models.Index(condition=models.Q(('settled_at__isnull', True)), fields=['buyer'], name='settlement_of_buyer'), models.Index(condition=models.Q(('settled_at__isnull', True)), fields=['seller'], name='settlement_of_seller')],
                'constraints': [models.CheckConstraint(condition=models.Q(('notional__gt', 0), ('quantity__gt', 0)), name='settlement_of_something'), models.CheckConstraint(condition=models.Q(('buyer', models.F('seller')), _negated=True), name='settlement_between_two')],
            },
        ),
        migrations.CreateModel(
            name='Fill',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('side', models.CharField(choices=[('BUY', 'Buy'), ('SELL', 'Sell')], max_length=4)),
                ('role', models.CharField(choices=[('MAKER', 'Maker'), ('TAKER', 'Taker')], max_length=5)),
                ('price', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('quantity', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('fee', marketdata.models.MoneyField(decimal_places=18, help_text='In the quote asset.', max_digits=38)),
                ('executed_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='fills', to='accounts.account')),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
                ('order', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='fills', to='exchange.order')),
                ('trade', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='fills', to='exchange.trade')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', 'id'], name='fill_of_account'), models.Index(fields=['order', 'id'], name='fill_of_order')],
            },
        ),
        migrations.CreateModel(
            name='MarginCall',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('equity', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('used', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('called_at', models.DateTimeField()),
                ('cleared_at', models.DateTimeField(null=True)),
                ('account', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='margin_calls', to='accounts.account')),
                ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('cleared_at__isnull', True)), fields=('account', 'asset'), name='margin_call_one_open')],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
