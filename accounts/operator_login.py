"""The admin's door: name, password and, for operators who have a second factor, its code.

With ADMIN_REQUIRE_TOTP on, operators without a second factor stay outside until they have set one up through
POST me/totp/. A session from before the second factor was set up has to log in again.
"""

from django import forms
from django.conf import settings
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.forms import AdminOwnPasswordChangeForm, AdminPasswordChangeForm, AuthenticationForm
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


class PasswordOnly:
    """Saves nothing but the password: it is hashed for a while, in which the user may be switched off."""

    def save(self, commit: bool = True) -> User:
        user = super().save(commit=False)
        if commit:
            user.save(update_fields=["password"])
        return user


class PasswordForm(PasswordOnly, AdminPasswordChangeForm):
    """A user's new password, by an operator."""


class OwnPasswordForm(PasswordOnly, AdminOwnPasswordChangeForm):
    """An operator's own new password."""


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

    def password_change(self, request: HttpRequest, extra_context: dict | None = None) -> HttpResponse:
        """The base class's, with the form from here: it lets none be named."""
        request.current_app = self.name
        return PasswordChangeView.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse(f"{self.name}:password_change_done", current_app=self.name),
            template_name=self.password_change_template or PasswordChangeView.template_name,
            extra_context={**self.each_context(request), **(extra_context or {})},
        )(request)
