"""manage.py add_capital USER ASSET AMOUNT: give a user money, as a deposit by the operator."""

from decimal import Decimal, InvalidOperation

from django.core.management.base import BaseCommand, CommandError

from accounts import transfers
from accounts.models import Journal, User
from accounts.users import main_account
from marketdata.refusals import Refusal
from marketdata.units import plain


class Command(BaseCommand):
    help = "Deposit AMOUNT of ASSET into USER's main account."

    def add_arguments(self, parser):
        parser.add_argument("user", help="username")
        parser.add_argument("asset", help="symbol, such as USD")
        parser.add_argument("amount", help="decimal, such as 1000.50")
        parser.add_argument("--reason", default="add_capital")

    def handle(self, *, user, asset, amount, reason, **options):
        longest = Journal._meta.get_field("reason").max_length
        if len(reason) > longest:
            raise CommandError(f"The reason must have at most {longest} characters.")
        owner = User.objects.named(user)
        if owner is None:
            raise CommandError(f"There is no user {user!r}; register one, or see the admin for names.")
        try:
            value = Decimal(amount)
            if not value.is_finite():
                raise InvalidOperation
        except InvalidOperation:
            raise CommandError(f"{amount!r} is not a decimal amount.") from None
        account = main_account(owner)
        try:
            moved = transfers.deposit(account=account, asset=transfers.find_asset(asset), amount=value, reason=reason)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from None
        total = account.balances.get(asset=moved.asset).total
        self.stdout.write(
            f"{owner.username}: +{plain(value)} {moved.asset}, now {plain(total)} (journal {moved.journal_id})"
        )
