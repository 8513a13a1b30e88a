import django.db.models.deletion
from django.db import migrations, models

import marketdata.models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0008_margin'),
        ('marketdata', '0008_marks'),
    ]

    operations = [
        migrations.CreateModel(
            name='Rollover',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(help_text='The local date of the rollover.')),
                ('at', models.DateTimeField(help_text='Who held a position then is charged.')),
                ('days', models.PositiveSmallIntegerField(help_text="Of interest: 1, or 3 where the weekend is counted.")),
                ('price', marketdata.models.MoneyField(decimal_places=18, help_text='The mark price when it was first posted.', max_digits=38)),
                ('conversion', marketdata.models.MoneyField(decimal_places=30, help_text='Settlement asset for one unit of quote, then.', max_digits=60)),
                ('long_rate', marketdata.models.RateField(decimal_places=8, max_digits=10)),
                ('short_rate', marketdata.models.RateField(decimal_places=8, max_digits=10)),
                ('posted_at', models.DateTimeField(help_text='When the last holder was charged; empty: still to do.', null=True)),
                ('market', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
            ],
            options={
                'ordering': ['-at', 'market__symbol'],
            },
        ),
        migrations.CreateModel(
            name='FinancingCharge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('quantity', marketdata.models.MoneyField(decimal_places=18, help_text='Held at the rollover: contracts, below zero for a short.', max_digits=38)),
                ('amount', marketdata.models.MoneyField(decimal_places=18, help_text='In the settlement asset.', max_digits=38)),
                ('journal_id', models.BigIntegerField(help_text='Empty: it came to less than the smallest unit.', null=True)),
                ('created_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='financing', to='accounts.account')),
                ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('rollover', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='charges', to='accounts.rollover')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='ArchivedPosition',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('realized_quote', marketdata.models.MoneyField(decimal_places=18, max_digits=60)),
                ('realized', marketdata.models.MoneyField(decimal_places=18, max_digits=60)),
                ('fees', marketdata.models.MoneyField(decimal_places=18, max_digits=60)),
                ('financing', marketdata.models.MoneyField(decimal_places=18, max_digits=60)),
                ('opened_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField()),
                ('archived_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', 'id'], name='archived_position_of_account')],
            },
        ),
        migrations.AddConstraint(
            model_name='rollover',
            constraint=models.UniqueConstraint(fields=('market', 'day'), name='rollover_once_per_market_and_day'),
        ),
        migrations.AddConstraint(
            model_name='rollover',
            constraint=models.CheckConstraint(condition=models.Q(('days__gte', 1), ('conversion__gt', 0), ('price__gt', 0)), name='rollover_figures'),
        ),
        migrations.AddIndex(
            model_name='financingcharge',
            index=models.Index(fields=['account', 'id'], name='financing_of_account'),
        ),
        migrations.AddConstraint(
            model_name='financingcharge',
            constraint=models.UniqueConstraint(fields=('account', 'rollover'), name='financing_once_per_account_and_rollover'),
        ),
    ]
