"""Journal and events keep the JSON text that came: it is read whole or not at all."""

from django.db import migrations

import marketdata.models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_access_and_competitions"),
    ]

    operations = [
        migrations.AlterField(
            model_name="accountevent",
            name="events",
            field=marketdata.models.WrittenJSONField(),
        ),
    ]
