"""Fees by volume, and the kill switch of an account."""

import django.db.models.deletion
from django.db import migrations, models

import marketdata.models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_json_as_written'),
        ('marketdata', '0006_sessions'),
    ]

    operations = [
        migrations.AddField(
            model_name='account',
            name='stopped_by',
            field=models.CharField(blank=True, choices=[('OWNER', 'Owner'), ('OPERATOR', 'Operator')], db_default='', default='', editable=False, help_text='Who has pulled the kill switch, see exchange.kill_switch; empty: nobody.', max_length=8),
        ),
        migrations.CreateModel(
            name='FeeTier',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('min_volume', marketdata.models.MoneyField(decimal_places=18, help_text='Of thirty days, in the quote asset.', max_digits=60)),
                ('maker_fee', marketdata.models.RateField(decimal_places=8, help_text='As a fraction; a negative one is a rebate.', max_digits=10)),
                ('taker_fee', marketdata.models.RateField(decimal_places=8, max_digits=10)),
                ('quote', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='fee_tiers', to='marketdata.asset')),
            ],
            options={
                'ordering': ['quote', 'min_volume'],
            },
        ),
        migrations.CreateModel(
            name='FeeRate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('volume', marketdata.models.MoneyField(decimal_places=18, help_text='Of the thirty days before.', max_digits=60)),
                ('computed_at', models.DateTimeField()),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='fee_rates', to='accounts.account')),
                ('quote', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('tier', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rates', to='accounts.feetier')),
            ],
            options={
                'ordering': ['account', 'quote'],
            },
        ),
        migrations.AddConstraint(
            model_name='feetier',
            constraint=models.UniqueConstraint(fields=('quote', 'min_volume'), name='fee_tier_once_per_volume'),
        ),
        migrations.AddConstraint(
            model_name='feetier',
            constraint=models.CheckConstraint(condition=models.Q(('min_volume__gt', 0)), name='fee_tier_volume_positive'),
        ),
        migrations.AddConstraint(
            model_name='feetier',
            constraint=models.CheckConstraint(condition=models.Q(('maker_fee__gt', -1), ('maker_fee__lt', 1), ('taker_fee__gte', 0), ('taker_fee__lt', 1)), name='fee_tier_fees_are_fractions'),
        ),
        migrations.AddConstraint(
            model_name='feerate',
            constraint=models.UniqueConstraint(fields=('account', 'quote'), name='fee_rate_once_per_account_and_quote'),
        ),
    ]
