"""schemathesis over the whole OpenAPI document, by a user with funds and orders, an operator and nobody: no 5xx, no
answer that the document does not describe, no trace in the server's log; audit and replay clean after it.

    python -m tests.fuzz.rest [--cases 4000] [--seed 1]

Round after round, each with its own seed, until that many cases were sent (the last round may go beyond). The first
one also walks schemathesis's examples and boundary values, those after it only draw.
"""

import argparse
import json
import sys
import tempfile
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from benchmarks.report import table
from benchmarks.server import PrivateVenue
from config import children
from tests.fuzz.document import sharpened
from tests.fuzz.verdict import problems

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
PRICES_AND_QUANTITIES = (
    "price", "quantity", "quote_quantity", "stop_price", "trail_amount", "trail_percent", "displayed_quantity",
)  # fmt: skip
EXAMPLES = 100
FIRST_EXAMPLES = 10
#: Threads of one process; two at a time trip over each other in Python 3.11 (its `ast` counts depth for all at once).
WORKERS = "1"
#: Patient on a machine that is busy otherwise.
ANSWER_SECONDS = "60"
SHOWN_CHARACTERS = 6000


@dataclass
class Result:
    """What was sent, and what is wrong."""

    cases: Counter = field(default_factory=Counter)
    accepted: Counter = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def fuzz(venue: PrivateVenue, *, cases: int, seed: int) -> Result:
    """Until that many cases were sent, or one of them found something."""
    result = Result()
    _promote(venue, venue.users[-1])
    callers = (("user", venue.users[0]), ("operator", venue.users[-1]), ("nobody", None))
    with tempfile.TemporaryDirectory(prefix="venue-fuzz-") as place:
        document = Path(place) / "openapi.json"
        document.write_text(json.dumps(_document(venue)))
        while result.cases.total() < cases and not result.problems:
            result.seeds.append(seed + len(result.seeds))
            for who, user in callers:
                _round(venue, document, who, user, result)
    result.problems += problems(venue)
    return result


def _round(venue: PrivateVenue, document: Path, who: str, user: dict | None, result: Result) -> None:
    """One run of schemathesis, in a process of its own."""
    is_first, report = len(result.seeds) == 1, document.with_name("report.json")
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", str(document), "--url", venue.url]
    command += ["--checks", CHECKS, "--continue-on-failure", "--no-shrink", "--no-color", "--workers", WORKERS]
    command += ["--seed", str(result.seeds[-1]), "--max-examples", str(FIRST_EXAMPLES if is_first else EXAMPLES)]
    command += ["--phases", "examples,coverage,fuzzing,stateful" if is_first else "fuzzing,stateful"]
    command += ["--suppress-health-check", "all", "--warnings", "off", "--generation-database", "none"]
    command += ["--request-timeout", ANSWER_SECONDS]
    command += ["--report", "json", "--report-json-path", str(report)]
    if user is not None:
        command += ["--header", f"Authorization: Bearer {user['token']}"]
    answer = children.run(command, cwd=document.parent)
    if not report.exists():
        result.problems.append(f"schemathesis ended with {answer.returncode}:\n{answer.stdout}{answer.stderr}")
        return
    told = json.loads(report.read_text())
    report.unlink()
    result.cases[who] += told["test_cases"]["generated"]
    result.accepted[who] += sum(rate["accepted"] for rates in told["valid_rates"].values() for rate in rates.values())
    if answer.returncode:
        result.problems.append(f"seed {result.seeds[-1]}, {who}:\n{answer.stdout[-SHOWN_CHARACTERS:]}{answer.stderr}")


def _promote(venue: PrivateVenue, user: dict) -> None:
    """Make an operator of a user that the server has not seen yet."""
    connection = psycopg2.connect(venue.database.url)
    try:
        with connection, connection.cursor() as cursor:
            change = "UPDATE accounts_user SET is_staff = true, is_superuser = true WHERE username = %s"
            cursor.execute(change, [user["username"]])
            assert cursor.rowcount == 1, user
    finally:
        connection.close()


def _document(venue: PrivateVenue) -> dict:
    """The document that the venue serves, with what is there to be named."""
    with urllib.request.urlopen(f"{venue.url}/api/schema/", timeout=30) as answer:
        document = json.loads(answer.read())
    order_ids, trade_ids = _history(venue)
    numbers = ["100", "99.5", "0.01", "1", "0.001", "101.25", "1e3", "-1", "100.001"]
    return sharpened(
        document,
        {
            "symbol": [*venue.markets, *venue.margin_markets, venue.markets[0].replace("_", "")],
            "asset": ["USD", "M0"],
            "amount": ["1", "0.5", 7],
            "order_id": order_ids,
            "order": order_ids,
            "trade_id": trade_ids,
            "key_id": list(range(1, 6)),
            **dict.fromkeys(("withdrawal_id", "position_id", "list_id"), list(range(1, 10))),
            "client_order_id": ["a", "b", "c"],
            **dict.fromkeys(PRICES_AND_QUANTITIES, numbers),
        },
    )


def _history(venue: PrivateVenue) -> tuple[list[int], list[int]]:
    """Some orders of both users, resting and traded; the ids of the first user's orders and of the trades."""
    orders, trades = [], []
    for number in range(12):
        for user, side in zip(venue.users, ("BUY", "SELL"), strict=False):
            price = f"{100 - number if side == 'BUY' else 98 + number}"
            terms = {"symbol": venue.markets[number % len(venue.markets)], "side": side, "price": price}
            order = venue.ask("orders/", terms | {"quantity": "2"}, user=user)
            trades += [fill["trade_id"] for fill in order["fills"]]
            if user is venue.users[0]:
                orders.append(order["id"])
    return orders, trades


def main() -> int:
    """The command; 1 when something was found."""
    parser = argparse.ArgumentParser(description="Fuzz the REST API from its own description.")
    parser.add_argument("--cases", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with PrivateVenue(users=3, markets=2, margin=1) as venue:
        result = fuzz(venue, cases=options.cases, seed=options.seed)
    rows = [(who, count, result.accepted[who]) for who, count in result.cases.items()]
    print(table(("caller", "cases", "accepted"), rows))
    print("\n\n".join(result.problems))
    verdict = "clean" if not result.problems else f"{len(result.problems)} PROBLEMS"
    print(f"{result.cases.total():,} cases, seeds {result.seeds[0]} to {result.seeds[-1]}: {verdict}")
    return bool(result.problems)


if __name__ == "__main__":
    sys.exit(main())
