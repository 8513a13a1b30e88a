"""The baseline's tables."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Market",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=24, unique=True)),
                ("base", models.CharField(max_length=8)),
                ("quote", models.CharField(max_length=8)),
            ],
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("side", models.CharField(choices=[("BUY", "buy"), ("SELL", "sell")], max_length=4)),
                ("price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("quantity", models.DecimalField(decimal_places=18, max_digits=38)),
                ("filled_quantity", models.DecimalField(decimal_places=18, default=0, max_digits=38)),
                ("status", models.CharField(default="OPEN", max_length=16)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("market", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="baseline.market")),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name="Trade",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("price", models.DecimalField(decimal_places=18, max_digits=38)),
                ("quantity", models.DecimalField(decimal_places=18, max_digits=38)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "maker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="baseline.order"
                    ),
                ),
                ("market", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="baseline.market")),
                (
                    "taker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="baseline.order"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Balance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("asset", models.CharField(max_length=8)),
                ("available", models.DecimalField(decimal_places=18, default=0, max_digits=38)),
                ("reserved", models.DecimalField(decimal_places=18, default=0, max_digits=38)),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("user", "asset"), name="baseline_one_balance")],
            },
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["market", "side", "status", "price", "created_at"], name="baseline_book"),
        ),
    ]
