"""Every pair of commands that meet, at every point of the first one's transaction.

A line says what the answers must be if the held writer's command comes first, and if the other's does; who comes first
follows from the point at which the first one is held. No third outcome exists.
"""

from dataclasses import dataclass
from decimal import Decimal

import pytest

from accounts import transfers
from exchange.commands import Amend, Cancel, CancelAll
from marketdata.models import Asset
from tests.races.stage import ORDER, first_one
from tests.venue import Venue, beginning_with, withdraw


@dataclass(frozen=True)
class Race:
    """`rest`: orders that stand before. `held`, `other`: the two commands. Then the answers and the book by who is
    first."""

    name: str
    rest: tuple[str, ...]
    held: str
    other: str
    held_first: tuple[str, str, str]
    other_first: tuple[str, str, str]
    guard: str = "market"


RACES = [
    Race(
        "two orders that meet",
        (),
        "ann BUY 5 AAPL @ 100",
        "bob SELL 3 AAPL @ 99",
        held_first=("OPEN", "FILLED", "2@100 |"),
        other_first=("PARTIALLY_FILLED", "OPEN", "2@100 |"),
    ),
    Race(
        "two orders for the last lot",
        ("ann SELL 1 AAPL @ 100",),
        "bob BUY 1 AAPL @ 100 IOC",
        "cid BUY 1 AAPL @ 100 IOC",
        held_first=("FILLED", "EXPIRED", "|"),
        other_first=("EXPIRED", "FILLED", "|"),
    ),
    Race(
        "cancel against fill",
        ("ann SELL 5 AAPL @ 100",),
        "ann cancel",
        "bob BUY 5 AAPL @ 100",
        held_first=("CANCELLED", "OPEN", "5@100 |"),
        other_first=("order_not_open", "FILLED", "|"),
    ),
    Race(
        "fill against cancel",
        ("ann SELL 5 AAPL @ 100",),
        "bob BUY 5 AAPL @ 100",
        "ann cancel",
        held_first=("FILLED", "order_not_open", "|"),
        other_first=("OPEN", "CANCELLED", "5@100 |"),
    ),
    Race(
        "amend against fill",
        ("ann SELL 5 AAPL @ 100",),
        "ann amend 3 @ 101",
        "bob BUY 5 AAPL @ 100",
        held_first=("OPEN", "OPEN", "5@100 | 3@101"),
        other_first=("order_not_open", "FILLED", "|"),
    ),
    Race(
        "partial fill against amend below it",
        ("ann SELL 5 AAPL @ 100",),
        "bob BUY 3 AAPL @ 100",
        "ann amend 2 @ 100",
        held_first=("FILLED", "quantity_out_of_range", "| 2@100"),
        other_first=("PARTIALLY_FILLED", "OPEN", "1@100 |"),
    ),
    Race(
        "cancel against cancel",
        ("ann SELL 5 AAPL @ 100",),
        "ann cancel",
        "ann cancel",
        held_first=("CANCELLED", "order_not_open", "|"),
        other_first=("order_not_open", "CANCELLED", "|"),
    ),
    Race(
        "cancel all against fill",
        ("ann SELL 5 AAPL @ 100", "ann SELL 5 AAPL @ 101"),
        "ann cancel_all",
        "bob BUY 6 AAPL @ 101",
        held_first=("2 cancelled", "OPEN", "6@101 |"),
        other_first=("1 cancelled", "FILLED", "|"),
    ),
    Race(
        "two orders that spend the same money",
        (),
        "cid BUY 10 AAPL @ 100",
        "cid BUY 10 AAPL @ 99",
        held_first=("OPEN", "insufficient_funds", "10@100 |"),
        other_first=("insufficient_funds", "OPEN", "10@99 |"),
    ),
    Race(
        "two orders that spend the same money on two markets",
        (),
        "cid BUY 10 AAPL @ 100",
        "cid BUY 10 MSFT @ 100",
        held_first=("OPEN", "insufficient_funds", "10@100 |"),
        other_first=("insufficient_funds", "OPEN", "|"),
        guard="accounts",
    ),
    Race(
        "order against withdrawal of its money",
        (),
        "cid BUY 10 AAPL @ 100",
        "cid withdraw 500",
        held_first=("OPEN", "insufficient_funds", "10@100 |"),
        other_first=("insufficient_funds", "done", "|"),
        guard="accounts",
    ),
    Race(
        "order against deposit of its money",
        (),
        "cid BUY 20 AAPL @ 100",
        "cid deposit 5000",
        held_first=("insufficient_funds", "done", "|"),
        other_first=("OPEN", "done", "20@100 |"),
        guard="accounts",
    ),
    Race(
        "order against halt",
        (),
        "ann BUY 5 AAPL @ 100",
        "operator HALTED",
        held_first=("OPEN", "done", "5@100 |"),
        other_first=("market_halted", "done", "|"),
    ),
    Race(
        "cancel against cancel-only",
        ("ann SELL 5 AAPL @ 100",),
        "ann cancel",
        "operator CANCEL_ONLY",
        held_first=("CANCELLED", "done", "|"),
        other_first=("CANCELLED", "done", "|"),
    ),
    Race(
        "the same client_order_id twice",
        (),
        "ann BUY 5 AAPL @ 100 #mine",
        "ann BUY 5 AAPL @ 100 #mine",
        held_first=("OPEN", "replayed", "5@100 |"),
        other_first=("replayed", "OPEN", "5@100 |"),
    ),
    Race(
        "the same client_order_id with other terms",
        (),
        "ann BUY 5 AAPL @ 100 #mine",
        "ann BUY 6 AAPL @ 100 #mine",
        held_first=("OPEN", "client_order_id_reused", "5@100 |"),
        other_first=("client_order_id_reused", "OPEN", "6@100 |"),
    ),
    Race(
        "the same client_order_id on two markets",
        (),
        "ann BUY 5 AAPL @ 100 #mine",
        "ann BUY 5 MSFT @ 100 #mine",
        held_first=("OPEN", "client_order_id_reused", "5@100 |"),
        other_first=("client_order_id_reused", "OPEN", "|"),
        guard="accounts",
    ),
]


def with_scenes() -> None:
    """What every test begins with: a scene for each of its acts."""
    venue = Venue()
    for act in range(len(ORDER)):
        build_scene(venue, act)


@pytest.fixture
def venue(transactional_db):
    with beginning_with(with_scenes) as made:
        yield made


#: Every test plays one race once at each of these points, each time on markets and with traders of its own.
@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_race(stage, race):
    for act, point in enumerate(ORDER):
        scene = Scene(stage.venue, act)
        standing = {}
        for sentence in race.rest:
            standing.setdefault(sentence.split()[0], stage.venue.order(scene.named(sentence)))
        held, other = (scene.action(sentence, standing) for sentence in (race.held, race.other))
        answers = stage.run(point, held=held, other=other, guard=race.guard, symbols=scene.symbols)
        expected = race.held_first if first_one(point, race.guard) == "held" else race.other_first
        assert (*answers, stage.venue.book(f"AAPL{act}")) == expected, f"held {point}"


def build_scene(venue: Venue, act: int) -> None:
    """Two markets without fees on the same money, two rich traders and a poor one, all of this act only."""
    for name in ("AAPL", "MSFT"):
        base = venue.assets[f"{name}{act}"] = Asset.objects.create(symbol=f"{name}{act}", name=name)
        venue.market(base.symbol, base=base.symbol, quote="USD", maker_fee=0, taker_fee=0)
    for name, dollars in (("ann", 10_000), ("bob", 10_000), ("cid", 1_000)):
        venue.trader(f"{name}{act}", **{"USD": dollars, f"AAPL{act}": 100})


@dataclass(frozen=True)
class Scene:
    """The markets and traders of one act, by the names that the races have for them."""

    venue: Venue
    act: int

    @property
    def symbols(self) -> tuple[str, str]:
        return f"AAPL{self.act}", f"MSFT{self.act}"

    def named(self, sentence: str) -> str:
        """The sentence with this act's names in it."""
        words = sentence.split()
        return " ".join(
            [f"{words[0]}{self.act}", *(f"{w}{self.act}" if w in ("AAPL", "MSFT") else w for w in words[1:])]
        )

    def action(self, sentence: str, standing: dict):
        """A command for a writer, or what an operator or the bank does."""
        name, verb, *rest = sentence.split()
        if name == "operator":
            return lambda: self.venue.change(f"AAPL{self.act}", status=verb)
        account = self.venue.accounts[f"{name}{self.act}"]
        if verb == "cancel":
            return Cancel(account.id, standing[name]["id"])
        if verb == "cancel_all":
            return CancelAll(account.id, None)
        if verb == "amend":
            return Amend(account.id, standing[name]["id"], Decimal(rest[2]), Decimal(rest[0]))
        if verb in ("deposit", "withdraw"):
            move = transfers.deposit if verb == "deposit" else withdraw
            return lambda: move(account=account, asset=self.venue.assets["USD"], amount=Decimal(rest[0]))
        terms, _, client_order_id = self.named(sentence).partition(" #")
        return self.venue.command(terms, client_order_id=client_order_id or None)
