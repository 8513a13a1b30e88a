import django.db.models.deletion
from django.db import migrations, models

import marketdata.models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0009_financing'),
        ('exchange', '0008_margin'),
        ('marketdata', '0008_marks'),
    ]

    operations = [
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
    ]
