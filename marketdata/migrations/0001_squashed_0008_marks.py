"""All of marketdata's tables as they are after 0008: a new database makes them in one step, an old one has them."""

import datetime
from decimal import Decimal

import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import marketdata.models

FORWARD = """
-- The candles that form are updated with every batch: room in their pages keeps them there.
ALTER TABLE marketdata_candle SET (fillfactor = 50);
"""


class Migration(migrations.Migration):

    replaces = [
        ('marketdata', '0001_initial'),
        ('marketdata', '0002_candles'),
        ('marketdata', '0003_feed'),
        ('marketdata', '0004_scheduled_status'),
        ('marketdata', '0006_sessions'),
        ('marketdata', '0007_margin'),
        ('marketdata', '0008_marks'),
    ]

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='TradingCalendar',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=64, unique=True)),
                ('time_zone', models.CharField(default='UTC', help_text='Such as America/New_York.', max_length=64)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Asset',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('symbol', models.CharField(max_length=16, unique=True, validators=[django.core.validators.RegexValidator('^[A-Z0-9]{1,16}$')])),
                ('name', models.CharField(max_length=64)),
                ('kind', models.CharField(choices=[('FIAT', 'Fiat'), ('CRYPTO', 'Crypto'), ('STOCK', 'Stock'), ('METAL', 'Metal')], default='CRYPTO', max_length=8)),
                ('decimals', models.PositiveSmallIntegerField(default=8, help_text='The smallest unit is 10^-decimals. Fixed once made.', validators=[django.core.validators.MaxValueValidator(18)])),
                ('is_active', models.BooleanField(default=True)),
            ],
            options={
                'ordering': ['symbol'],
                'constraints': [models.CheckConstraint(condition=models.Q(('decimals__lte', 18)), name='asset_decimals_at_most_18')],
            },
        ),
        migrations.CreateModel(
            name='Market',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('symbol', models.CharField(max_length=24, unique=True, validators=[django.core.validators.RegexValidator('^[A-Z0-9][A-Z0-9_.-]{0,23}$')])),
                ('kind', models.CharField(choices=[('SPOT', 'Spot'), ('MARGIN', 'Margin')], default='SPOT', max_length=8)),
                ('status', models.CharField(choices=[('OPEN', 'Open'), ('CANCEL_ONLY', 'Cancel Only'), ('HALTED', 'Halted'), ('CLOSED', 'Closed')], default='OPEN', max_length=12)),
                ('is_active', models.BooleanField(default=True, help_text='Inactive markets are not listed and take no orders.')),
                ('tick_size', marketdata.models.MoneyField(decimal_places=18, default=Decimal('0.01'), max_digits=38)),
                ('lot_size', marketdata.models.MoneyField(decimal_places=18, default=Decimal('1'), max_digits=38)),
                ('min_quantity', marketdata.models.MoneyField(blank=True, decimal_places=18, help_text='Empty: one lot.', max_digits=38, null=True)),
                ('max_quantity', marketdata.models.MoneyField(decimal_places=18, default=Decimal('1000000000'), max_digits=38)),
                ('min_notional', marketdata.models.MoneyField(decimal_places=18, default=Decimal('0'), max_digits=38, validators=[django.core.validators.MinValueValidator(0)])),
                ('price_band', marketdata.models.RateField(blank=True, decimal_places=8, default=Decimal('0.1'), help_text='Allowed distance from the last price; empty: no band.', max_digits=10, null=True)),
                ('maker_fee', marketdata.models.RateField(decimal_places=8, default=Decimal('0.001'), max_digits=10)),
                ('taker_fee', marketdata.models.RateField(decimal_places=8, default=Decimal('0.001'), max_digits=10)),
                ('max_open_orders', models.PositiveIntegerField(default=10000, help_text='Per account.')),
                ('reference_price', marketdata.models.MoneyField(blank=True, decimal_places=18, help_text='Stands for the last price until the first trade.', max_digits=38, null=True)),
                ('version', models.BigIntegerField(default=1, editable=False)),
                ('sequence', models.BigIntegerField(default=0, editable=False)),
                ('last_price', marketdata.models.MoneyField(decimal_places=18, editable=False, max_digits=38, null=True)),
                ('last_price_updated_at', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('base', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='markets_as_base', to='marketdata.asset')),
                ('quote', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='markets_as_quote', to='marketdata.asset')),
                ('scheduled_status', models.CharField(blank=True, default='', editable=False, help_text='The status, if a schedule gave it.', max_length=12)),
                ('auction_seconds', models.PositiveIntegerField(default=120, help_text='Length of such an auction.')),
                ('max_interruptions', models.PositiveIntegerField(blank=True, help_text='That many such auctions in a day halt the market; empty: never.', null=True)),
                ('max_notional', marketdata.models.MoneyField(blank=True, decimal_places=18, help_text='Of one order, against typing errors; empty: no limit.', max_digits=38, null=True)),
                ('max_order_ratio', models.PositiveIntegerField(blank=True, help_text='Orders and amendments per trade of an account and day; empty: no limit.', null=True)),
                ('session', models.JSONField(editable=False, help_text='The phase as the market journal last had it; empty: continuous.', null=True)),
                ('settlement_days', models.PositiveSmallIntegerField(default=0, help_text='Trades settle that many business days later.', validators=[django.core.validators.MaxValueValidator(10)])),
                ('status_reason', models.CharField(blank=True, default='', editable=False, help_text='Why, if a rule of the venue gave the status.', max_length=200)),
                ('trigger_by', models.CharField(choices=[('LAST', 'Last price'), ('MARK', 'Mark price')], default='LAST', help_text='The price that triggers stop orders.', max_length=4)),
                ('volatility_band', marketdata.models.RateField(blank=True, decimal_places=8, help_text='A trade further from the last price starts an auction instead; empty: never.', max_digits=10, null=True)),
                ('calendar', models.ForeignKey(blank=True, help_text='Empty: it never closes.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='markets', to='marketdata.tradingcalendar')),
            ],
            options={
                'ordering': ['symbol'],
                'constraints': [models.CheckConstraint(condition=models.Q(('tick_size__gt', 0)), name='market_tick_size_positive'), models.CheckConstraint(condition=models.Q(('lot_size__gt', 0)), name='market_lot_size_positive'), models.CheckConstraint(condition=models.Q(('base', models.F('quote')), _negated=True), name='market_assets_differ'), models.CheckConstraint(condition=models.Q(('maker_fee__gt', -1), ('maker_fee__lt', 1)), name='market_maker_fee_is_a_fraction'), models.CheckConstraint(condition=models.Q(('taker_fee__gte', django.db.models.expressions.CombinedExpression(models.F('maker_fee'), '*', models.Value(-1)))), name='market_rebate_is_paid_by_the_taker'), models.CheckConstraint(condition=models.Q(('taker_fee__gte', 0), ('taker_fee__lt', 1)), name='market_taker_fee_is_a_fraction'), models.CheckConstraint(condition=models.Q(('price_band__isnull', True), models.Q(('price_band__gt', 0), ('price_band__lt', 1)), _connector='OR'), name='market_price_band_is_a_fraction')],
            },
        ),
        migrations.CreateModel(
            name='Candle',
            fields=[
                ('pk', models.CompositePrimaryKey('market_id', 'interval_seconds', 'open_time', blank=True, editable=False, primary_key=True, serialize=False)),
                ('interval_seconds', models.IntegerField(help_text='1, 60, 3600 or 86400.')),
                ('open_time', models.DateTimeField(help_text='When the interval begins, UTC.')),
                ('open', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('high', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('low', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('close', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('volume', marketdata.models.MoneyField(decimal_places=18, help_text='In the base asset.', max_digits=60)),
                ('quote_volume', marketdata.models.MoneyField(decimal_places=18, help_text='In the quote asset.', max_digits=60)),
                ('trades', models.BigIntegerField()),
                ('first_trade_id', models.BigIntegerField()),
                ('last_trade_id', models.BigIntegerField()),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
            ],
        ),
        migrations.CreateModel(
            name='Holiday',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('name', models.CharField(blank=True, max_length=64)),
                ('closes_early', models.TimeField(blank=True, help_text='Local; empty: no session at all.', null=True)),
                ('calendar', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='holidays', to='marketdata.tradingcalendar')),
            ],
            options={
                'ordering': ['calendar', 'day'],
                'constraints': [models.UniqueConstraint(fields=('calendar', 'day'), name='holiday_once_per_day')],
            },
        ),
        migrations.CreateModel(
            name='TradingHours',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('weekday', models.PositiveSmallIntegerField(choices=[(0, 'Monday'), (1, 'Tuesday'), (2, 'Wednesday'), (3, 'Thursday'), (4, 'Friday'), (5, 'Saturday'), (6, 'Sunday')])),
                ('pre_open', models.TimeField(blank=True, help_text='Orders are collected from here on; empty: not.', null=True)),
                ('opens', models.TimeField()),
                ('closing', models.TimeField(blank=True, help_text='The closing auction begins; empty: there is none.', null=True)),
                ('closes', models.TimeField()),
                ('calendar', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='hours', to='marketdata.tradingcalendar')),
            ],
            options={
                'verbose_name_plural': 'trading hours',
                'ordering': ['calendar', 'weekday'],
                'constraints': [models.UniqueConstraint(fields=('calendar', 'weekday'), name='trading_hours_once_per_weekday'), models.CheckConstraint(condition=models.Q(('opens__lt', models.F('closes'))), name='trading_hours_open_before_close'), models.CheckConstraint(condition=models.Q(('pre_open__isnull', True), ('pre_open__lt', models.F('opens')), _connector='OR'), name='trading_hours_pre_open_first'), models.CheckConstraint(condition=models.Q(('closing__isnull', True), models.Q(('closing__gt', models.F('opens')), ('closing__lt', models.F('closes'))), _connector='OR'), name='trading_hours_closing_within')],
            },
        ),
        migrations.CreateModel(
            name='Mark',
            fields=[
                ('market', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='marked', serialize=False, to='marketdata.market')),
                ('price', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('bid', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('ask', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('marked_at', models.DateTimeField(help_text='When the print was made that gave the price.')),
                ('stale_at', models.DateTimeField(help_text='From then on nothing is decided by this price.')),
            ],
            options={
                'ordering': ['market__symbol'],
                'constraints': [models.CheckConstraint(condition=models.Q(('price__gt', 0)), name='mark_price_positive'), models.CheckConstraint(condition=models.Q(('ask__gte', models.F('bid')), ('bid__gt', 0)), name='mark_bid_and_ask_in_order')],
            },
        ),
        migrations.CreateModel(
            name='Quote',
            fields=[
                ('market', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='quoted', serialize=False, to='marketdata.market')),
                ('bid', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('ask', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('mid', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('quoted_at', models.DateTimeField(help_text="The provider's time.")),
                ('received_at', models.DateTimeField()),
                ('stale_at', models.DateTimeField()),
                ('provider', models.CharField(max_length=16)),
                ('is_stale', models.BooleanField(default=False)),
            ],
            options={
                'ordering': ['market__symbol'],
                'constraints': [models.CheckConstraint(condition=models.Q(('ask__gte', models.F('bid')), ('bid__gt', 0)), name='quote_bid_and_ask_in_order')],
            },
        ),
        migrations.CreateModel(
            name='ExternalCandle',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(max_length=32)),
                ('interval', models.CharField(max_length=3)),
                ('open_time', models.DateTimeField()),
                ('open', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('high', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('low', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('close', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('volume', marketdata.models.MoneyField(decimal_places=18, default=Decimal('0'), max_digits=38)),
                ('market', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='external_candles', to='marketdata.market')),
            ],
            options={
                'ordering': ['market', 'source', 'interval', 'open_time'],
                'constraints': [models.UniqueConstraint(fields=('market', 'interval', 'source', 'open_time'), name='external_candle_is_unique'), models.CheckConstraint(condition=models.Q(('high__gte', models.F('open')), ('low__gt', 0), ('low__lte', models.F('open')), ('high__gte', models.F('close')), ('low__lte', models.F('close')), ('volume__gte', 0)), name='external_candle_is_plausible')],
            },
        ),
        migrations.CreateModel(
            name='Contract',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('contract_size', marketdata.models.MoneyField(decimal_places=18, default=Decimal('1'), help_text='Units of the base asset in one contract.', max_digits=38)),
                ('max_leverage', models.PositiveSmallIntegerField(default=30, validators=[django.core.validators.MinValueValidator(1)])),
                ('tiers', models.JSONField(blank=True, default=list, help_text='Rates by slices of the notional in the settlement asset: [{"up_to": "1000000", "initial": "0.02", "maintenance": "0.01"}, …, {"up_to": null, …}]. Empty: 1/leverage, and half of 1/max_leverage.')),
                ('is_reduce_only', models.BooleanField(default=False, help_text='Takes only orders that reduce positions: new risk is stopped.')),
                ('hours_zone', models.CharField(default='UTC', help_text='Time zone of hours and holidays.', max_length=40)),
                ('hours', models.JSONField(blank=True, default=list, help_text='Open spans of the week: [["SUN 17:00", "FRI 17:00"]]. Empty: always open.')),
                ('holidays', models.JSONField(blank=True, default=list, help_text='Closed dates: ["2026-12-25"].')),
                ('mark_source', models.CharField(choices=[('PROVIDER', "Provider's quotes"), ('BOOK', "The market's own book")], default='PROVIDER', max_length=8)),
                ('mark_max_age_seconds', models.PositiveIntegerField(default=30, validators=[django.core.validators.MinValueValidator(1)])),
                ('mark_jump', marketdata.models.RateField(decimal_places=8, default=Decimal('0.01'), help_text='A price that jumps further than this waits for the next one to confirm it.', max_digits=10)),
                ('liquidation_band', marketdata.models.RateField(decimal_places=8, default=Decimal('0.05'), help_text='How far from the mark liquidation orders may trade, as a fraction.', max_digits=10)),
                ('is_quoted', models.BooleanField(default=False, help_text="The house quotes this market from the mark's source.")),
                ('quote_spread_ticks', models.PositiveIntegerField(default=2, validators=[django.core.validators.MinValueValidator(1)])),
                ('quote_size_lots', models.PositiveIntegerField(default=100, validators=[django.core.validators.MinValueValidator(1)])),
                ('exposure_limit_lots', models.PositiveIntegerField(default=100000, help_text='The house stops quoting the side that would carry its position beyond this.')),
                ('financing_long_rate', marketdata.models.RateField(decimal_places=8, default=Decimal('0'), help_text='A year, of the notional: what a holder pays for a long; negative: gets.', max_digits=10)),
                ('financing_short_rate', marketdata.models.RateField(decimal_places=8, default=Decimal('0'), max_digits=10)),
                ('financing_days', models.PositiveSmallIntegerField(default=365, help_text='Days of a year of interest: 360 or 365.')),
                ('triple_day', models.PositiveSmallIntegerField(blank=True, help_text='The weekday (0 is Monday) whose rollover counts three days.', null=True, validators=[django.core.validators.MaxValueValidator(6)])),
                ('rollover_time', models.TimeField(default=datetime.time(17, 0))),
                ('rollover_zone', models.CharField(default='America/New_York', max_length=40)),
                ('market', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='contract', to='marketdata.market')),
                ('settlement', models.ForeignKey(help_text='What margin, profit and loss are paid in.', on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
            ],
            options={
                'ordering': ['market__symbol'],
                'constraints': [models.CheckConstraint(condition=models.Q(('contract_size__gt', 0)), name='contract_size_positive'), models.CheckConstraint(condition=models.Q(('max_leverage__gte', 1)), name='contract_leverage_at_least_1'), models.CheckConstraint(condition=models.Q(('financing_days__gte', 1), ('mark_jump__gt', 0), ('mark_jump__lt', 1), ('liquidation_band__gt', 0), ('liquidation_band__lt', 1)), name='contract_figures_in_range')],
            },
        ),
        migrations.CreateModel(
            name='PriceSource',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('provider', models.CharField(choices=[('SYNTHETIC', 'Synthetic'), ('TWELVE_DATA', 'Twelve Data'), ('ALLTICK', 'AllTick'), ('YFINANCE', 'yfinance')], default='SYNTHETIC', max_length=16)),
                ('provider_symbol', models.CharField(help_text="The provider's own name: AAPL, EUR/USD, BTCUSDT, AAPL.US; synthetic: NAME@anchor price.", max_length=64)),
                ('spread', marketdata.models.RateField(decimal_places=8, default=Decimal('0.0005'), help_text='Least distance of bid and ask as a fraction of their middle; narrower prices are widened to it.', max_digits=10)),
                ('band', marketdata.models.RateField(decimal_places=8, default=Decimal('0.1'), help_text='Largest believable step from one price to the next, as a fraction.', max_digits=10)),
                ('is_active', models.BooleanField(default=True)),
                ('market', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='price_source', to='marketdata.market')),
            ],
            options={
                'ordering': ['market__symbol'],
                'constraints': [models.CheckConstraint(condition=models.Q(('spread__gte', 0), ('spread__lt', 1)), name='price_source_spread_is_a_fraction'), models.CheckConstraint(condition=models.Q(('band__gt', 0), ('band__lt', 1)), name='price_source_band_is_a_fraction'), models.CheckConstraint(condition=models.Q(('provider_symbol', ''), _negated=True), name='price_source_has_a_symbol')],
            },
        ),
        migrations.RunSQL(FORWARD, migrations.RunSQL.noop),
    ]
