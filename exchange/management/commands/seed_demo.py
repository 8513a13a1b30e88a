"""manage.py seed_demo: the demonstration's assets, markets, users and operator; whatever of them is missing."""

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exchange import demo, margin_demo
from marketdata.refusals import Refusal


class Command(BaseCommand):
    help = "Adds what is missing of the demonstration. Safe to repeat: nothing that exists is changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--reset-operator-password", action="store_true", help="give the operator a new random password"
        )

    def handle(self, *, reset_operator_password: bool, **options) -> None:
        try:
            seeded = demo.seed(reset_operator_password=reset_operator_password)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        self.stdout.write(
            f"demo: made {seeded.assets} assets, {seeded.markets} markets, {seeded.users} users\n"
            f"  markets   {' '.join(demo.MARKETS)}\n"
            f"  margin    {' '.join(margin_demo.MARKETS)}\n"
            f"  traders   {', '.join(demo.USERS)} (password {demo.PASSWORD})\n"
            f"  operator  {demo.OPERATOR} ({self._operator(seeded)})"
        )

    @staticmethod
    def _operator(seeded: demo.Seeded) -> str:
        path = demo.operator_password_path()
        if seeded.operator_password:
            return f"password {seeded.operator_password}, kept in {path}"
        if path.exists():
            return f"password in {path}"
        return "new password: manage.py seed_demo --reset-operator-password"
