"""All of accounts' tables as they are after 0011: a new database makes them in one step, an old one has them."""

import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import accounts.names
import marketdata.models

FORWARD = """
CREATE FUNCTION accounts_entries_sum_to_zero() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT journal_id, asset_id, SUM(amount) AS total INTO wrong
    FROM written GROUP BY journal_id, asset_id HAVING SUM(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal % does not balance: asset % sums to %', wrong.journal_id, wrong.asset_id, wrong.total
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- Per statement, not deferred: a journal's entries must come in one INSERT, which is stricter than summing at commit, and costs one
-- aggregate a batch instead of one query a row.
CREATE TRIGGER entries_sum_to_zero AFTER INSERT ON accounts_entry
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION accounts_entries_sum_to_zero();

CREATE FUNCTION accounts_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER entry_never_changes BEFORE UPDATE OR DELETE ON accounts_entry
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();
CREATE TRIGGER journal_never_changes BEFORE UPDATE OR DELETE ON accounts_journal
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_never_changes();

-- What is rewritten all the time has room on each page, which keeps those updates off the indexes.
ALTER TABLE accounts_account SET (fillfactor = 50);
ALTER TABLE accounts_balance SET (fillfactor = 50);
ALTER TABLE accounts_holding SET (fillfactor = 50);

-- The writer takes ids in blocks, see exchange.ids.
ALTER SEQUENCE accounts_position_id_seq INCREMENT BY 64;
"""
BACKWARD = """
DROP TRIGGER journal_never_changes ON accounts_journal;
DROP TRIGGER entry_never_changes ON accounts_entry;
DROP TRIGGER entries_sum_to_zero ON accounts_entry;
DROP FUNCTION accounts_never_changes();
DROP FUNCTION accounts_entries_sum_to_zero();
"""


class Migration(migrations.Migration):

    replaces = [
        ('accounts', '0001_initial'),
        ('accounts', '0002_triggers'),
        ('accounts', '0003_holdings'),
        ('accounts', '0004_access_and_competitions'),
        ('accounts', '0005_json_as_written'),
        ('accounts', '0007_fee_tiers'),
        ('accounts', '0008_margin'),
        ('accounts', '0009_financing'),
        ('accounts', '0010_name_key'),
        ('accounts', '0011_disqualified'),
    ]

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('marketdata', '0001_squashed_0008_marks'),
    ]

    operations = [
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('email', models.EmailField(blank=True, max_length=254)),
                ('name_key', accounts.names.NameKey(editable=False, max_length=450)),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'abstract': False,
                'constraints': [models.UniqueConstraint(fields=('name_key',), name='user_name_key_once')],
            },
            managers=[
                ('objects', accounts.names.Users()),
            ],
        ),
        migrations.CreateModel(
            name='Account',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('MAIN', 'Main'), ('SUB', 'Sub'), ('FEES', 'Fees'), ('MARKET_MAKER', 'Market Maker'), ('INSURANCE', 'Insurance'), ('CLEARING', 'Clearing'), ('OUTSIDE', 'Outside')], default='MAIN', max_length=12)),
                ('name', models.CharField(blank=True, max_length=64)),
                ('is_active', models.BooleanField(default=True, help_text='An inactive account places no orders; it can still cancel.')),
                ('event_sequence', models.BigIntegerField(default=0, editable=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('market', models.ForeignKey(blank=True, help_text='For fees and market makers.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='house_accounts', to='marketdata.market')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='accounts', to=settings.AUTH_USER_MODEL)),
                ('closes_at', models.DateTimeField(editable=False, null=True)),
                ('market_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), editable=False, null=True, size=None)),
                ('opens_at', models.DateTimeField(editable=False, null=True)),
                ('stopped_by', models.CharField(blank=True, choices=[('OWNER', 'Owner'), ('OPERATOR', 'Operator')], db_default='', default='', editable=False, help_text='Who has pulled the kill switch, see exchange.kill_switch; empty: nobody.', max_length=8)),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('kind', 'MAIN')), fields=('user',), name='account_one_main_per_user'), models.UniqueConstraint(condition=models.Q(('kind__in', ['FEES'])), fields=('kind', 'market'), name='account_one_fee_account_per_market', nulls_distinct=False), models.UniqueConstraint(condition=models.Q(('kind', 'OUTSIDE')), fields=('kind',), name='account_one_outside_world'), models.UniqueConstraint(condition=models.Q(('kind', 'INSURANCE')), fields=('kind',), name='account_one_insurance_fund'), models.UniqueConstraint(condition=models.Q(('kind', 'CLEARING')), fields=('market',), name='account_one_clearing_per_market'), models.CheckConstraint(condition=models.Q(('user__isnull', False), models.Q(('kind__in', ['MAIN', 'SUB']), _negated=True), _connector='OR'), name='account_of_a_person_has_a_user')],
            },
        ),
        migrations.CreateModel(
            name='AccountEvent',
            fields=[
                ('pk', models.CompositePrimaryKey('account_id', 'last_sequence', blank=True, editable=False, primary_key=True, serialize=False)),
                ('first_sequence', models.BigIntegerField()),
                ('last_sequence', models.BigIntegerField()),
                ('events', marketdata.models.WrittenJSONField()),
                ('created_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='accounts.account')),
            ],
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=64)),
                ('key', models.CharField(help_text='The public half: says which key signs.', max_length=64, unique=True)),
                ('sealed_secret', models.BinaryField()),
                ('permissions', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('READ', 'Read'), ('TRADE', 'Trade'), ('WITHDRAW', 'Withdraw')], max_length=8), size=None)),
                ('allowed_ips', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=43), blank=True, default=list, help_text='Addresses or networks; none means any.', size=None)),
                ('is_active', models.BooleanField(default=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='accounts.account')),
            ],
            options={
                'verbose_name': 'API key',
                'verbose_name_plural': 'API keys',
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
        migrations.CreateModel(
            name='Balance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('available', marketdata.models.MoneyField(decimal_places=18, default=0, max_digits=38)),
                ('reserved', marketdata.models.MoneyField(decimal_places=18, default=0, max_digits=38)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='balances', to='accounts.account')),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
            ],
            options={
                'ordering': ['asset__symbol'],
                'constraints': [models.UniqueConstraint(fields=('account', 'asset'), name='balance_one_per_account_and_asset'), models.CheckConstraint(condition=models.Q(('available__gte', 0)), name='balance_available_not_negative'), models.CheckConstraint(condition=models.Q(('reserved__gte', 0)), name='balance_reserved_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='Competition',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=64, unique=True)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('starting_amount', marketdata.models.MoneyField(decimal_places=18, help_text='What each entry begins with.', max_digits=38)),
                ('is_public', models.BooleanField(default=True, help_text='Everybody sees it and may join; otherwise only whom an operator enters.')),
                ('round', models.PositiveIntegerField(default=1, editable=False)),
                ('closed_round', models.PositiveIntegerField(default=0, editable=False)),
                ('starting_asset', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('markets', models.ManyToManyField(help_text='Where entries may trade.', related_name='+', to='marketdata.market')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('starts_at'))), name='competition_ends_after_it_starts'), models.CheckConstraint(condition=models.Q(('starting_amount__gt', 0)), name='competition_starts_with_something'), models.CheckConstraint(condition=models.Q(('closed_round__lte', models.F('round'))), name='competition_closes_what_was')],
            },
        ),
        migrations.CreateModel(
            name='CompetitionEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('round', models.PositiveIntegerField()),
                ('joined_at', models.DateTimeField()),
                ('final_equity', marketdata.models.MoneyField(decimal_places=18, max_digits=60, null=True)),
                ('account', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='competition_entry', to='accounts.account')),
                ('competition', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='accounts.competition')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='competition_entries', to=settings.AUTH_USER_MODEL)),
                ('disqualified_at', models.DateTimeField(editable=False, help_text='From then on it has no rank, and its account only reduces positions.', null=True)),
            ],
            options={
                'verbose_name_plural': 'competition entries',
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('competition', 'round', 'user'), name='competition_entry_once_per_round_and_user')],
            },
        ),
        migrations.CreateModel(
            name='EquitySnapshot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('taken_at', models.DateTimeField(db_index=True)),
                ('equity', marketdata.models.MoneyField(decimal_places=18, max_digits=60)),
                ('paid_in', marketdata.models.MoneyField(decimal_places=18, help_text="Deposits less withdrawals so far, each at its snapshot's prices.", max_digits=60)),
                ('last_movement_id', models.BigIntegerField(help_text='The newest movement that paid_in counts.')),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
                ('quote', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('account', 'quote', 'taken_at'), name='equity_snapshot_once_per_account_and_moment')],
            },
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
                'constraints': [models.UniqueConstraint(fields=('quote', 'min_volume'), name='fee_tier_once_per_volume'), models.CheckConstraint(condition=models.Q(('min_volume__gt', 0)), name='fee_tier_volume_positive'), models.CheckConstraint(condition=models.Q(('maker_fee__gt', -1), ('maker_fee__lt', 1), ('taker_fee__gte', 0), ('taker_fee__lt', 1)), name='fee_tier_fees_are_fractions')],
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
                'constraints': [models.UniqueConstraint(fields=('account', 'quote'), name='fee_rate_once_per_account_and_quote')],
            },
        ),
        migrations.CreateModel(
            name='Holding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('quantity', marketdata.models.MoneyField(decimal_places=18, help_text='Bought and not yet sold.', max_digits=38)),
                ('cost', marketdata.models.MoneyField(decimal_places=18, help_text='What the quantity cost, fees included, in the quote asset.', max_digits=60)),
                ('fees', marketdata.models.MoneyField(decimal_places=18, help_text='All fees paid so far, in the quote asset.', max_digits=60)),
                ('fills', models.BigIntegerField(help_text='How often the account traded here.')),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='holdings', to='accounts.account')),
                ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('quote', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
            ],
            options={
                'ordering': ['account', 'asset', 'quote'],
                'constraints': [models.UniqueConstraint(fields=('account', 'asset', 'quote'), name='holding_one_per_account_asset_and_quote'), models.CheckConstraint(condition=models.Q(('cost__gte', 0), ('quantity__gte', 0)), name='holding_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='IdempotentRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(help_text='Of route and body: the same key with another body is refused.', max_length=64)),
                ('status', models.PositiveSmallIntegerField()),
                ('body', models.JSONField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('account', 'key'), name='idempotent_request_key_once_per_account')],
            },
        ),
        migrations.CreateModel(
            name='Journal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('DEPOSIT', 'Deposit'), ('WITHDRAWAL', 'Withdrawal'), ('TRADE', 'Trade'), ('TRANSFER', 'Transfer'), ('ADJUSTMENT', 'Adjustment'), ('FINANCING', 'Financing')], max_length=12)),
                ('reference', models.BigIntegerField(help_text="The trade's id for a TRADE.", null=True)),
                ('reason', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField()),
                ('actor', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('balance_after', marketdata.models.MoneyField(decimal_places=18, max_digits=38, null=True)),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='accounts.account')),
                ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('journal', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='accounts.journal')),
            ],
            options={
                'verbose_name_plural': 'entries',
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', 'asset', 'id'], name='entry_statement')],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount', 0), _negated=True), name='entry_amount_not_zero')],
            },
        ),
        migrations.CreateModel(
            name='MarginSetting',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('leverage', models.PositiveSmallIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
                ('market', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('account', 'market'), name='margin_setting_once')],
            },
        ),
        migrations.CreateModel(
            name='Movement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='movements', to='accounts.account')),
                ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('journal', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.journal')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', 'id'], name='movement_of_account')],
            },
        ),
        migrations.CreateModel(
            name='Position',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('quantity', marketdata.models.MoneyField(decimal_places=18, help_text='Contracts; below zero for a short.', max_digits=38)),
                ('cost', marketdata.models.MoneyField(decimal_places=18, help_text='Signed: what the open part was opened for, in the quote asset.', max_digits=60)),
                ('margin', marketdata.models.MoneyField(decimal_places=18, help_text='Initial margin as it was opened, in the settlement asset.', max_digits=38)),
                ('reserved', marketdata.models.MoneyField(decimal_places=18, help_text="How much of that the account's balance has reserved: less after a loss took it.", max_digits=38)),
                ('realized_quote', marketdata.models.MoneyField(decimal_places=18, default=0, help_text='Profit so far before fees, in the quote asset.', max_digits=60)),
                ('realized', marketdata.models.MoneyField(decimal_places=18, default=0, help_text='The same as paid, in the settlement asset.', max_digits=60)),
                ('fees', marketdata.models.MoneyField(decimal_places=18, default=0, help_text='Paid so far, in the settlement asset.', max_digits=60)),
                ('financing', marketdata.models.MoneyField(decimal_places=18, default=0, help_text='Paid so far (below zero: got), settlement asset.', max_digits=60)),
                ('opened_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(null=True)),
                ('updated_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='positions', to='accounts.account')),
                ('market', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='positions', to='marketdata.market')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', 'id'], name='position_of_account'), models.Index(condition=models.Q(('closed_at__isnull', True)), fields=['market'], name='position_open_in_market')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('closed_at__isnull', True)), fields=('account', 'market'), name='position_one_open'), models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), models.Q(('quantity', 0), _negated=True)), models.Q(('closed_at__isnull', False), ('cost', 0), ('margin', 0), ('quantity', 0), ('reserved', 0)), _connector='OR'), name='position_open_or_flat'), models.CheckConstraint(condition=models.Q(('margin__gte', models.F('reserved')), ('reserved__gte', 0)), name='position_margin_in_order')],
            },
        ),
        migrations.CreateModel(
            name='Realization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('trade_id', models.BigIntegerField()),
                ('quantity', marketdata.models.MoneyField(decimal_places=18, help_text='How much of the sale had been bought before.', max_digits=38)),
                ('proceeds', marketdata.models.MoneyField(decimal_places=18, help_text='After the fee, in the quote asset.', max_digits=60)),
                ('cost', marketdata.models.MoneyField(decimal_places=18, max_digits=60)),
                ('pnl', marketdata.models.MoneyField(decimal_places=18, help_text='proceeds - cost.', max_digits=60)),
                ('realized_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
                ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('quote', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', 'realized_at'], name='realization_of_account')],
                'constraints': [models.UniqueConstraint(fields=('account', 'trade_id'), name='realization_once_per_account_and_trade'), models.CheckConstraint(condition=models.Q(('pnl', django.db.models.expressions.CombinedExpression(models.F('proceeds'), '-', models.F('cost')))), name='realization_adds_up')],
            },
        ),
        migrations.CreateModel(
            name='Rollover',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField(help_text='The local date of the rollover.')),
                ('at', models.DateTimeField(help_text='Who held a position then is charged.')),
                ('days', models.PositiveSmallIntegerField(help_text='Of interest: 1, or 3 where the weekend is counted.')),
                ('price', marketdata.models.MoneyField(decimal_places=18, help_text='The mark price when it was first posted.', max_digits=38)),
                ('conversion', marketdata.models.MoneyField(decimal_places=30, help_text='Settlement asset for one unit of quote, then.', max_digits=60)),
                ('long_rate', marketdata.models.RateField(decimal_places=8, max_digits=10)),
                ('short_rate', marketdata.models.RateField(decimal_places=8, max_digits=10)),
                ('posted_at', models.DateTimeField(help_text='When the last holder was charged; empty: still to do.', null=True)),
                ('market', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
            ],
            options={
                'ordering': ['-at', 'market__symbol'],
                'constraints': [models.UniqueConstraint(fields=('market', 'day'), name='rollover_once_per_market_and_day'), models.CheckConstraint(condition=models.Q(('days__gte', 1), ('conversion__gt', 0), ('price__gt', 0)), name='rollover_figures')],
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
                'indexes': [models.Index(fields=['account', 'id'], name='financing_of_account')],
                'constraints': [models.UniqueConstraint(fields=('account', 'rollover'), name='financing_once_per_account_and_rollover')],
            },
        ),
        migrations.CreateModel(
            name='Shortfall',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('trade_id', models.BigIntegerField(help_text='Empty: it was financing.', null=True)),
                ('amount', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('covered', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('uncovered', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('created_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
                ('asset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('market', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.market')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount', django.db.models.expressions.CombinedExpression(models.F('covered'), '+', models.F('uncovered'))), ('covered__gte', 0), ('uncovered__gte', 0)), name='shortfall_adds_up')],
            },
        ),
        migrations.CreateModel(
            name='Withdrawal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ('status', models.CharField(choices=[('PENDING', 'Pending'), ('APPROVED', 'Approved'), ('REJECTED', 'Rejected'), ('CANCELLED', 'Cancelled')], default='PENDING', max_length=9)),
                ('requested_at', models.DateTimeField()),
                ('decided_at', models.DateTimeField(null=True)),
                ('reason', models.CharField(blank=True, help_text="The operator's.", max_length=200)),
                ('journal_id', models.BigIntegerField(help_text='Of the journal that paid it out.', null=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='withdrawals', to='accounts.account')),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='marketdata.asset')),
                ('decided_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['account', 'id'], name='withdrawal_of_account'), models.Index(condition=models.Q(('status', 'PENDING')), fields=['id'], name='withdrawal_pending')],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='withdrawal_amount_positive'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('status', 'PENDING')), models.Q(models.Q(('status', 'PENDING'), _negated=True), ('decided_at__isnull', False)), _connector='OR'), name='withdrawal_decided_or_pending'), models.CheckConstraint(condition=models.Q(models.Q(('journal_id__isnull', False), ('status', 'APPROVED')), models.Q(models.Q(('status', 'APPROVED'), _negated=True), ('journal_id__isnull', True)), _connector='OR'), name='withdrawal_paid_by_a_journal')],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
