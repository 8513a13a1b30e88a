"""`manage.py snapshot_equity`: takes a snapshot of what every user's account is worth, now.

The server does this by itself at each hour; the command is for venues that would rather run it from a timer.
"""

from django.core.management.base import BaseCommand, CommandError

from accounts import equity
from marketdata.refusals import Refusal


class Command(BaseCommand):
    help = "Takes a snapshot of the equity of every user's account."

    def handle(self, **options) -> None:
        try:
            taken = equity.take_snapshots()
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        self.stdout.write(f"{taken:,} accounts snapshotted")
