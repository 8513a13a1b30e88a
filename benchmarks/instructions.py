"""What the writer does for an order, in processor instructions: the same on a busy machine as on a quiet one.

    python -m benchmarks.instructions [--against CHECKOUT] [--batches 100]

Wall time on a shared machine moves by a third from minute to minute, which hides what a change costs. So batches of
32 orders are settled under valgrind's callgrind, few and many of them, each on a copy of one filled database; the
difference is what an order takes: deciding, money, rows, events, and the client library's part of the database. The
event loop and PostgreSQL are not in it. With `--against` another checkout of this project is measured the same way.

Needs `valgrind`; a minute or two for each checkout. The figures repeat within about two percent.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg2

from benchmarks.report import machine, table
from benchmarks.server import ROOT, PrivateDatabase

MIXES = ("all rest", "all cross")
BATCH, USERS, WARM_UP, FEW = 32, 64, 10, 5
HEADS = ("writer, batches of 32", "checkout", "instructions per order", "ratio")
COLLECTED = re.compile(r"Collected : (\d+)")


def per_order(checkout: Path, batches: int) -> dict[str, float]:
    """Instructions per order of each mix, in the code of a checkout."""
    database = PrivateDatabase().start()
    try:
        environment = os.environ | {
            "DATABASE_URL": database.url, "DJANGO_SETTINGS_MODULE": "config.settings", "SIMULATOR": "off",
            "PYTHONHASHSEED": "0", "DATA_DIR": str(database.data_dir),
        }  # fmt: skip
        fill = [sys.executable, "-m", "benchmarks.population", "--users", str(USERS), "--markets", "1"]
        subprocess.run(fill, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
        runs = {
            (mix, count): _start(database, checkout, environment, mix, count, FEW + batches)
            for mix in MIXES
            for count in (FEW, FEW + batches)
        }
        found = {run: _collected(process) for run, process in runs.items()}
    finally:
        database.stop()
    return {mix: (found[mix, FEW + batches] - found[mix, FEW]) / (batches * BATCH) for mix in MIXES}


def _start(
    database: PrivateDatabase, checkout: Path, environment: dict, mix: str, count: int, most: int
) -> subprocess.Popen:
    """Settle `count` of `most` batches on a copy of the database, in a process that is counted."""
    name, copy = re.search(r"/(\w+)\?", database.url).group(1), f"copy_{MIXES.index(mix)}_{count}"
    connection = psycopg2.connect(database.url, dbname="template1")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')
    connection.close()
    return subprocess.Popen(
        [
            "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
            # -P: the modules beside this one have names of the standard library.
            sys.executable, "-P", str(Path(__file__).resolve()), "--settle", str(count), "--of", str(most),
            "--mix", mix,
        ],
        cwd=checkout,
        env=environment | {"DATABASE_URL": database.url.replace(f"/{name}?", f"/{copy}?"), "PYTHONPATH": str(checkout)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def _collected(process: subprocess.Popen) -> int:
    _, report = process.communicate()
    if process.returncode or not (found := COLLECTED.search(report)):
        raise SystemExit(f"a counted run failed:\n{report[-3000:]}")
    return int(found.group(1))


def settle(batches: int, most: int, mix: str) -> None:
    """Settle that many batches of `most` in this process, with the project of the working directory."""
    import gc
    import random
    from concurrent.futures import Future

    import django

    django.setup()

    from accounts.models import Account
    from config.background import GC_THRESHOLDS
    from exchange import sequencer, validation
    from marketdata.models import Market

    sequencer.hub.publish = lambda **_: None
    dice = random.Random(1)
    market = Market.objects.order_by("id").first()
    accounts = list(Account.objects.filter(kind="MAIN").order_by("id").values_list("id", flat=True))

    def command():
        side = dice.choice(("BUY", "SELL"))
        ticks = 0 if mix == "all cross" else -50 if side == "BUY" else 50
        return validation.place_command(
            account_id=dice.choice(accounts), symbol=market.symbol, side=side,
            price=market.reference_price + ticks * market.tick_size, quantity=market.lot_size * dice.randint(1, 20),
        )  # fmt: skip

    writer = sequencer.Sequencer()
    made = [
        [sequencer.Waiting(command(), Future(), None) for _ in range(BATCH)] for _ in range(WARM_UP + most)
    ]
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    for waiting in made[: WARM_UP + batches]:
        while waiting:
            waiting = waiting[writer._attempt(waiting) :]
    sys.stderr.flush()
    os._exit(0)  # no thread of it has anything left to do


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Processor instructions per order, by callgrind.")
    parser.add_argument("--against", type=Path, help="another checkout of this project, say of the commit before")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--settle", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--mix", choices=MIXES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.settle is not None:
        settle(options.settle, options.of, options.mix)
    if shutil.which("valgrind") is None:
        print("This needs valgrind (Debian: apt install valgrind).", file=sys.stderr)
        return 2
    checkouts = [options.against.resolve(), ROOT] if options.against else [ROOT]
    found = [per_order(checkout, options.batches) for checkout in checkouts]
    print(machine())
    rows = [
        (mix, "this one" if checkout == ROOT else "the other", one[mix], one[mix] / found[0][mix])
        for mix in MIXES
        for checkout, one in zip(checkouts, found, strict=True)
    ]
    print(table(HEADS, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
