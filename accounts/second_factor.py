"""TOTP (RFC 6238) as a second factor: for withdrawals, and for operators who log in to the admin.

A user enables it in two steps: `begin` makes a secret, `confirm` proves that it is in the user's app. From then on
each withdrawal wants a code, by API key too. django-otp keeps the devices: a code is taken once only, of two requests
with one code at the same time one passes (row lock), and each failure doubles the wait for the next try.

Failures are counted in a transaction of their own, so call these outside of any; all but `take`, which makes the code
and what it is for one transaction. There the device is locked after the account (the lock order is in accounts.ledger).
"""

import re

from django.db import transaction
from django.utils import timezone
from django_otp.models import Device
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import User
from marketdata.refusals import Refusal
from marketdata.throttling import Throttled

NAME = "totp"
CODE = re.compile(r"[0-9]{6}", re.ASCII)


class CodeRequired(Refusal):
    """The user has a second factor and did not show it."""

    code, status, title = "otp_required", 403, "A one-time code is required"


class CodeInvalid(Refusal):
    """Not the present code, or one that was used before."""

    code, status, title = "otp_invalid", 403, "The one-time code is not valid"


class SecondFactorConflict(Refusal):
    """It is on already, or was never begun."""

    code, status, title = "totp_conflict", 409, "Not in this state of the second factor"


def is_enabled(user_id: int) -> bool:
    """Whether the user has confirmed a second factor."""
    return TOTPDevice.objects.filter(user_id=user_id, confirmed=True).exists()


def begin(user: User) -> TOTPDevice:
    """A fresh secret, to be confirmed; one begun before is void. SecondFactorConflict when one is on already."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if is_enabled(user.pk):
            raise SecondFactorConflict("A second factor is on already; remove it first.")
        TOTPDevice.objects.filter(user=user).delete()
        return TOTPDevice.objects.create(user=user, name=NAME, confirmed=False)


def confirm(user: User, code: str) -> None:
    """Turn the begun second factor on. CodeInvalid, SecondFactorConflict when none was begun."""
    with transaction.atomic():
        # As `begin` does: else one could void in between what this one says is on.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        device = TOTPDevice.objects.filter(user=user, confirmed=False).first()
        if device is None:
            raise SecondFactorConflict("Nothing to confirm; begin with POST me/totp/.")
        refusal = _take(device, code)
        if refusal is None:
            TOTPDevice.objects.filter(pk=device.pk).update(confirmed=True)
    if refusal is not None:
        raise refusal


def remove(user: User, code: str | None) -> None:
    """Turn it off, with a code. CodeRequired, CodeInvalid, SecondFactorConflict when none is on."""
    device = require(user.pk, code)
    if device is None:
        raise SecondFactorConflict("No second factor is on.")
    device.delete()


def require(user_id: int, code: str | None) -> Device | None:
    """The device that took the code; None for users without a second factor. CodeRequired, CodeInvalid, Throttled."""
    device = _device(user_id, code)
    if device is not None:
        _verify(device, code)
    return device


def take(user_id: int, code: str | None) -> Refusal | None:
    """The same in the running transaction: rolled back, the code may be used again. A refusal is returned, to be raised
    when the failure that it counted is committed; CodeRequired, which counts nothing, is raised.
    """
    device = _device(user_id, code)
    return None if device is None else _take(device, code)


def _device(user_id: int, code: str | None) -> TOTPDevice | None:
    """The user's second factor, which wants a code; None for users without one."""
    device = TOTPDevice.objects.filter(user_id=user_id, confirmed=True).first()
    if device is not None and not code:
        raise CodeRequired("Send the code of your authenticator in the header X-OTP.")
    return device


def _verify(device: TOTPDevice, code: str) -> None:
    """Take the code, or count a failure; both are committed before anything is raised."""
    with transaction.atomic():
        refusal = _take(device, code)
    if refusal is not None:
        raise refusal


def _take(device: TOTPDevice, code: str) -> Refusal | None:
    locked = TOTPDevice.objects.select_for_update().filter(pk=device.pk).first()
    if locked is None:
        return CodeInvalid("The second factor has just been removed.")
    allowed, why = locked.verify_is_allowed()
    if not allowed:
        return Throttled(max(1, int((why["locked_until"] - timezone.now()).total_seconds()) + 1))
    if not locked.verify_token(code if CODE.fullmatch(code) else ""):
        return CodeInvalid("Wait for the next code of your authenticator and send that; each is taken once.")
    return None
