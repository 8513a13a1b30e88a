"""What clients remember of their orders: what they asked, what they were told, what they do not know.

An acknowledgement is a promise for ever. `OrderRecord` keeps the last promise about each order, and the operation whose
answer never came, if there is one: then both worlds, with it and without it, are honest.
"""

from dataclasses import dataclass, field
from decimal import Decimal

ENDED = {"FILLED", "CANCELLED", "EXPIRED"}


@dataclass
class OrderRecord:
    """One order of one client, under its client_order_id."""

    account: int
    client_order_id: str
    body: dict
    #: The last order object that was received for it; None before the first.
    told: dict | None = None
    #: The code with which it was refused for good.
    refused: str | None = None
    #: Operations sent since `told` whose outcome is not known: "place", ("amend", price, quantity) or "cancel".
    unknown: list = field(default_factory=list)

    def acknowledge(self, order: dict) -> None:
        """An answer of the venue, newer than all before; it settles what was unknown."""
        self.told, self.unknown = order, []

    @property
    def may_be_open(self) -> bool:
        return self.told is not None and self.told["status"] not in ENDED

    def contradictions(self, row: dict | None) -> list[str]:
        """What the database's row (None: there is no such order) says against what the client was told."""
        if row is None:
            return [] if self.told is None else [f"LOST {self._name()}: acknowledged as {self.told['id']}"]
        if self.told is None:
            return [] if self.unknown else [f"GHOST {self._name()}: refused with {self.refused}, stored as {row['id']}"]
        found = []
        if row["id"] != self.told["id"]:
            found.append(f"OTHER {self._name()}: acknowledged as {self.told['id']}, stored as {row['id']}")
        if row["filled_quantity"] < Decimal(self.told["filled_quantity"]):
            found.append(f"UNFILLED {self._name()}: {self.told['filled_quantity']} were filled, stored {row}")
        if self.told["status"] in ENDED and row["status"] != self.told["status"]:
            found.append(f"REVIVED {self._name()}: was {self.told['status']}, stored {row['status']}")
        if not self._terms_allowed(row):
            found.append(f"CHANGED {self._name()}: told {self.told}, unknown {self.unknown}, stored {row}")
        if row["status"] == "CANCELLED" and self.told["status"] != "CANCELLED" and "cancel" not in self.unknown:
            found.append(f"CANCELLED {self._name()}: nobody cancelled it")
        return found

    def _terms_allowed(self, row: dict) -> bool:
        stored = (row["price"], row["quantity"])
        allowed = [(Decimal(self.told["price"]), Decimal(self.told["quantity"]))]
        allowed += [(Decimal(one[1]), Decimal(one[2])) for one in self.unknown if one[0] == "amend"]
        return stored in allowed

    def _name(self) -> str:
        return f"order {self.client_order_id!r} of account {self.account}"
