"""Candles: one index, which is the primary key, serves every page."""

import django.db.models.deletion
from django.db import migrations, models

import marketdata.models


class Migration(migrations.Migration):

    dependencies = [
        ('marketdata', '0001_initial'),
    ]

    operations = [
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
        # The candles that form are updated with every batch: room in their pages keeps them there.
        migrations.RunSQL(
            "ALTER TABLE marketdata_candle SET (fillfactor = 50)", "ALTER TABLE marketdata_candle RESET (fillfactor)"
        ),
    ]
