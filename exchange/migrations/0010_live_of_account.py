from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0009_financing'),
        ('exchange', '0009_risk'),
        ('marketdata', '0008_marks'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('status__in', ['FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED']), _negated=True), fields=['account', 'id'], include=('market', 'status'), name='order_live_of_account'),
        ),
    ]
