"""The admin's door: name, password and, for operators who have a second factor, its code.

With ADMIN_REQUIRE_TOTP on, operators without a second factor stay outside until they have set one up through
POST me/totp/. A session from before the second factor was set up has to log in again.
"""

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import second_factor
from accounts.models import User
from marketdata.refusals import Refusal


class OperatorLoginForm(AuthenticationForm):
    """The code is asked of everybody, and may be left empty by those who have no second factor."""

    otp_code = forms.CharField(
        label="One-time code",
        required=False,
        max_length=6,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
        help_text="If you have set up an authenticator.",
    )

    def confirm_login_allowed(self, user: User) -> None:
        super().confirm_login_allowed(user)
        try:
            device = second_factor.require(user.pk, self.data.get("otp_code", "").strip())
        except Refusal as refusal:
            detail = "Enter the code of your authenticator." if refusal.code == "otp_required" else refusal.detail
            raise ValidationError(detail, code=refusal.code) from None
        if device is not None:
            user.otp_device = device  # django-otp keeps it in the session
        elif settings.ADMIN_REQUIRE_TOTP:
            raise ValidationError("Operators need a second factor here; set it up by POST /api/v1/me/totp/.")


class OperatorSite(UnfoldAdminSite):
    """The admin, open to staff whose second factor was checked."""

    login_form = OperatorLoginForm
    login_template = "accounts/login.html"

    def has_permission(self, request: HttpRequest) -> bool:
        if not super().has_permission(request):
            return False
        if request.user.is_verified():
            return True
        return not settings.ADMIN_REQUIRE_TOTP and not second_factor.is_enabled(request.user.pk)
