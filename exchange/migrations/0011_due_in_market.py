from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0009_financing'),
        ('exchange', '0010_live_of_account'),
        ('marketdata', '0008_marks'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('status', 'PENDING'), ('triggered_at__isnull', False)), fields=['market'], name='order_due_in_market'),
        ),
    ]
