"""`manage.py run_margin_updater`: keeps the mark prices, and the house's quotes around them; until Ctrl-C."""

from exchange import positions_engine
from exchange.management.margin_service import ServiceCommand


class Command(ServiceCommand):
    help = "Keeps the mark prices of margin markets, and the house's quotes around them."
    service = staticmethod(positions_engine.run_updater)
