"""Trades that settle later than they happen."""

import django.db.models.deletion
from django.db import migrations, models

import marketdata.models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0007_fee_tiers'),
        ('exchange', '0005_lifecycle'),
        ('marketdata', '0006_sessions'),
    ]

    operations = [
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
    ]
