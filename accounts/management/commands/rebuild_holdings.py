"""`manage.py rebuild_holdings`: writes holdings and realised profits anew from the fills, or proves with --check that
they are equal.

The check is safe while the venue runs; a rebuild stops all trading until it is done. Exit code 0: done, or equal. 1:
the check found differences; the first of them are printed.
"""

import sys
from itertools import islice

from django.core.management.base import BaseCommand, CommandParser

from accounts import holdings_proof
from accounts.models import Holding, Realization

SHOWN = 20


class Command(BaseCommand):
    help = "Writes holdings and realised profits anew from the fills; with --check only compares, exit 1 if unequal."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; compare")

    def handle(self, *, check: bool, **options) -> None:
        if not check:
            self.stdout.write(f"holdings of {holdings_proof.rebuild():,} accounts rebuilt")
            return
        found = list(islice(holdings_proof.differences(), SHOWN))
        for difference in found:
            self.stdout.write(self.style.ERROR(difference))
        if found:
            sys.exit(1)
        holdings, sales = Holding.objects.count(), Realization.objects.count()
        self.stdout.write(f"{holdings:,} holdings and {sales:,} realisations equal the fills")
