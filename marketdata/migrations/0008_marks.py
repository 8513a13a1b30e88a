import django.db.models.deletion
from django.db import migrations, models

import marketdata.models


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0007_margin")]

    operations = [
        migrations.CreateModel(
            name="Mark",
            fields=[
                (
                    "market",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="marked",
                        serialize=False,
                        to="marketdata.market",
                    ),
                ),
                ("price", marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ("bid", marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ("ask", marketdata.models.MoneyField(decimal_places=18, max_digits=38)),
                ("marked_at", models.DateTimeField(help_text="When the print was made that gave the price.")),
                ("stale_at", models.DateTimeField(help_text="From then on nothing is decided by this price.")),
            ],
            options={
                "ordering": ["market__symbol"],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("price__gt", 0)), name="mark_price_positive"),
                    models.CheckConstraint(
                        condition=models.Q(("ask__gte", models.F("bid")), ("bid__gt", 0)),
                        name="mark_bid_and_ask_in_order",
                    ),
                ],
            },
        ),
    ]
