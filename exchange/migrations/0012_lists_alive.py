from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0010_name_key'),
        ('exchange', '0011_due_in_market'),
        ('marketdata', '0008_marks'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('list_id__isnull', False), ('status__in', ['PENDING', 'OPEN', 'PARTIALLY_FILLED'])), fields=['list_id'], name='order_live_of_list'),
        ),
    ]
