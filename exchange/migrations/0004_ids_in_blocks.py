"""The writer takes ids of orders, trades and journals in blocks: one value of a sequence stands for 64 of them."""

from django.db import migrations

SEQUENCES = ("exchange_order_id_seq", "exchange_trade_id_seq", "accounts_journal_id_seq")


def count_up_by(step: int) -> str:
    return "; ".join(f"ALTER SEQUENCE {sequence} INCREMENT BY {step}" for sequence in SEQUENCES)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_json_as_written"),
        ("exchange", "0003_json_as_written"),
    ]

    operations = [migrations.RunSQL(count_up_by(64), count_up_by(1))]
