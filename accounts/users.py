"""People: registering, and the main account that each has from the first moment."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import Account, User
from marketdata.refusals import Malformed, Refusal


class UsernameTaken(Refusal):
    """Somebody has that name, however it is written: see accounts.names."""

    code, status, title = "username_taken", 409, "Username is taken"


def register(*, username: str, password: str, email: str = "") -> User:
    """A new user with a main account.

    Malformed when name or password do not pass Django's validators, UsernameTaken.
    """
    user = User(username=User.normalize_username(username), email=email)
    user.set_password(password)
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Malformed(
            "The password is too weak.",
            errors=[{"field": "password", "code": "weak", "detail": text} for text in error.messages],
        ) from None
    try:
        user.full_clean(exclude=["password"], validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise Malformed(
            "The user cannot be registered like that.",
            errors=[
                {"field": name, "code": "invalid", "detail": text}
                for name, texts in error.message_dict.items()
                for text in texts
            ],
        ) from None
    taken = UsernameTaken(f"{username!r} is taken; choose another name.")
    if User.objects.named(user.username) is not None:
        raise taken  # PostgreSQL would say so too, and log the row that it refused: hash, address and all
    try:
        with transaction.atomic():
            user.save()
            Account.objects.create(user=user, kind=Account.Kind.MAIN)
    except IntegrityError:
        raise taken from None
    return user


def main_account(user: User) -> Account:
    """The user's main account; made when it is missing, as for users that createsuperuser made."""
    return Account.objects.get_or_create(user=user, kind=Account.Kind.MAIN)[0]
