"""Sessions with calendars, safety nets, deferred settlement and rebates: what a market asks beyond its filters."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

import marketdata.models


class Migration(migrations.Migration):

    dependencies = [
        ('marketdata', '0004_scheduled_status'),
    ]

    operations = [
        migrations.CreateModel(
            name='Holiday',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('name', models.CharField(blank=True, max_length=64)),
                ('closes_early', models.TimeField(blank=True, help_text='Local; empty: no session at all.', null=True)),
            ],
            options={
                'ordering': ['calendar', 'day'],
            },
        ),
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
            name='TradingHours',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('weekday', models.PositiveSmallIntegerField(choices=[(0, 'Monday'), (1, 'Tuesday'), (2, 'Wednesday'), (3, 'Thursday'), (4, 'Friday'), (5, 'Saturday'), (6, 'Sunday')])),
                ('pre_open', models.TimeField(blank=True, help_text='Orders are collected from here on; empty: not.', null=True)),
                ('opens', models.TimeField()),
                ('closing', models.TimeField(blank=True, help_text='The closing auction begins; empty: there is none.', null=True)),
                ('closes', models.TimeField()),
            ],
            options={
                'verbose_name_plural': 'trading hours',
                'ordering': ['calendar', 'weekday'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='market',
            name='market_maker_fee_is_a_fraction',
        ),
        migrations.AddField(
            model_name='market',
            name='auction_seconds',
            field=models.PositiveIntegerField(default=120, help_text='Length of such an auction.'),
        ),
        migrations.AddField(
            model_name='market',
            name='max_interruptions',
            field=models.PositiveIntegerField(blank=True, help_text='That many such auctions in a day halt the market; empty: never.', null=True),
        ),
        migrations.AddField(
            model_name='market',
            name='max_notional',
            field=marketdata.models.MoneyField(blank=True, decimal_places=18, help_text='Of one order, against typing errors; empty: no limit.', max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name='market',
            name='max_order_ratio',
            field=models.PositiveIntegerField(blank=True, help_text='Orders and amendments per trade of an account and day; empty: no limit.', null=True),
        ),
        migrations.AddField(
            model_name='market',
            name='session',
            field=models.JSONField(editable=False, help_text='The phase as the market journal last had it; empty: continuous.', null=True),
        ),
        migrations.AddField(
            model_name='market',
            name='settlement_days',
            field=models.PositiveSmallIntegerField(default=0, help_text='Trades settle that many business days later.', validators=[django.core.validators.MaxValueValidator(10)]),
        ),
        migrations.AddField(
            model_name='market',
            name='status_reason',
            field=models.CharField(blank=True, default='', editable=False, help_text='Why, if a rule of the venue gave the status.', max_length=200),
        ),
        migrations.AddField(
            model_name='market',
            name='trigger_by',
            field=models.CharField(choices=[('LAST', 'Last price'), ('MARK', 'Mark price')], default='LAST', help_text='The price that triggers stop orders.', max_length=4),
        ),
        migrations.AddField(
            model_name='market',
            name='volatility_band',
            field=marketdata.models.RateField(blank=True, decimal_places=8, help_text='A trade further from the last price starts an auction instead; empty: never.', max_digits=10, null=True),
        ),
        migrations.AddField(
            model_name='holiday',
            name='calendar',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='holidays', to='marketdata.tradingcalendar'),
        ),
        migrations.AddField(
            model_name='market',
            name='calendar',
            field=models.ForeignKey(blank=True, help_text='Empty: it never closes.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='markets', to='marketdata.tradingcalendar'),
        ),
        migrations.AddConstraint(
            model_name='market',
            constraint=models.CheckConstraint(condition=models.Q(('maker_fee__gt', -1), ('maker_fee__lt', 1)), name='market_maker_fee_is_a_fraction'),
        ),
        migrations.AddConstraint(
            model_name='market',
            constraint=models.CheckConstraint(condition=models.Q(('taker_fee__gte', django.db.models.expressions.CombinedExpression(models.F('maker_fee'), '*', models.Value(-1)))), name='market_rebate_is_paid_by_the_taker'),
        ),
        migrations.AddField(
            model_name='tradinghours',
            name='calendar',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='hours', to='marketdata.tradingcalendar'),
        ),
        migrations.AddConstraint(
            model_name='holiday',
            constraint=models.UniqueConstraint(fields=('calendar', 'day'), name='holiday_once_per_day'),
        ),
        migrations.AddConstraint(
            model_name='tradinghours',
            constraint=models.UniqueConstraint(fields=('calendar', 'weekday'), name='trading_hours_once_per_weekday'),
        ),
        migrations.AddConstraint(
            model_name='tradinghours',
            constraint=models.CheckConstraint(condition=models.Q(('opens__lt', models.F('closes'))), name='trading_hours_open_before_close'),
        ),
        migrations.AddConstraint(
            model_name='tradinghours',
            constraint=models.CheckConstraint(condition=models.Q(('pre_open__isnull', True), ('pre_open__lt', models.F('opens')), _connector='OR'), name='trading_hours_pre_open_first'),
        ),
        migrations.AddConstraint(
            model_name='tradinghours',
            constraint=models.CheckConstraint(condition=models.Q(('closing__isnull', True), models.Q(('closing__gt', models.F('opens')), ('closing__lt', models.F('closes'))), _connector='OR'), name='trading_hours_closing_within'),
        ),
    ]
