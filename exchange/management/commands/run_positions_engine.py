"""`manage.py run_positions_engine`: watches every margin account, liquidates, posts financing; until Ctrl-C."""

from exchange import positions_engine
from exchange.management.margin_service import ServiceCommand


class Command(ServiceCommand):
    help = "Watches every margin account, liquidates, and posts financing."
    service = staticmethod(positions_engine.run_engine)
