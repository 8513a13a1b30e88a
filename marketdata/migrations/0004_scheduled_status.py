"""A schedule's halt is told from an operator's."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketdata", "0003_feed"),
    ]

    operations = [
        migrations.AddField(
            model_name="market",
            name="scheduled_status",
            field=models.CharField(
                blank=True, default="", editable=False, help_text="The status, if a schedule gave it.", max_length=12
            ),
        ),
    ]
