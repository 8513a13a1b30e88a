"""Journal and events keep the JSON text that came: it is read whole or not at all."""

from django.db import migrations

import marketdata.models


class Migration(migrations.Migration):
    dependencies = [
        ("exchange", "0002_triggers"),
    ]

    operations = [
        migrations.AlterField(
            model_name="bookcommand",
            name="command",
            field=marketdata.models.WrittenJSONField(),
        ),
    ]
