"""`manage.py end_of_day`: does what time has made due, now: closes sessions, ends orders, settles trades, assigns fees.

The server does all of it by itself (see exchange.clockwork); the command is for venues that would rather see it done at
the end of their day, and for a server that was down over it. Running it again does nothing again.
"""

from django.core.management.base import BaseCommand, CommandError

from exchange import clockwork, deferred, fee_tiers
from exchange.models import Settlement
from exchange.sequencer import sequencer
from marketdata import clock
from marketdata.refusals import Refusal


class Command(BaseCommand):
    help = "Closes sessions, ends orders, settles trades and assigns fee tiers, as far as they are due."

    def handle(self, **options) -> None:
        try:
            markets = clockwork.look()
            settled = failed = 0
            while (step := deferred.settle_due(clock.now())) != (0, 0):
                settled, failed = settled + step[0], failed + step[1]
            tiers = fee_tiers.assign(clock.now())
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        finally:
            sequencer.stop()
        waiting = Settlement.objects.filter(settled_at=None).exclude(error="").count()
        done = f"{markets:,} markets kept up, {settled:,} trades settled, {tiers:,} accounts with a fee tier"
        self.stdout.write(done)
        if waiting:
            self.stdout.write(f"{waiting:,} trades wait for an operator, {failed:,} of them new: see the admin")
