"""What the chaos harness calls a broken promise: told, unknown and stored, and what it says about them."""

from decimal import Decimal

import pytest

from tests.chaos.record import OrderRecord

TOLD = {"id": 7, "price": "100", "quantity": "5", "filled_quantity": "2", "status": "PARTIALLY_FILLED", "fills": []}
STORED = {"id": 7, "price": Decimal(100), "quantity": Decimal(5), "filled_quantity": Decimal(2), "status": "OPEN"}


@pytest.mark.parametrize(
    ("told", "unknown", "stored", "verdict"),
    [
        ({}, [], {}, None),
        ({}, [], None, "LOST"),
        (None, [], None, None),
        (None, ["place"], {}, None),
        (None, [], {}, "GHOST"),
        ({}, [], {"id": 8}, "OTHER"),
        ({}, [], {"filled_quantity": Decimal(3)}, None),
        ({}, [], {"filled_quantity": Decimal(1)}, "UNFILLED"),
        ({"status": "CANCELLED"}, [], {"status": "CANCELLED"}, None),
        ({"status": "CANCELLED"}, [], {"status": "OPEN"}, "REVIVED"),
        ({}, ["cancel"], {"status": "CANCELLED"}, None),
        ({}, [], {"status": "CANCELLED"}, "CANCELLED"),
        ({}, [("amend", "101", "4")], {"price": Decimal(101), "quantity": Decimal(4)}, None),
        ({}, [("amend", "101", "4")], {}, None),
        ({}, [], {"price": Decimal(101), "quantity": Decimal(4)}, "CHANGED"),
    ],
)
def test_contradictions(told, unknown, stored, verdict):
    record = OrderRecord(1, "mine", {}, told=None if told is None else TOLD | told, unknown=unknown)
    found = record.contradictions(None if stored is None else STORED | stored)
    assert [text.split()[0] for text in found] == ([verdict] if verdict else [])
