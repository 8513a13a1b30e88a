"""The operators' pages for ways in: API keys, lockouts, lost second factors. Imported by accounts.admin.

Nobody sees a secret here. What is taken away is logged with who did it and why.
"""

from axes.models import AccessAttempt
from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.admin import ModelAdmin
from unfold.decorators import action

from accounts import api_keys
from accounts.models import ApiKey, User
from marketdata import operators


@admin.register(ApiKey)
class ApiKeyAdmin(operators.HistoryAdmin):
    """Keys of bots; operators can revoke them."""

    list_display = ("id", "name", "account", "permissions", "is_active", "shown_last_used_at", "shown_created_at")
    list_filter = ("is_active",)
    list_select_related = ("account__user", "account__market")
    exact_search = ("id", "account_id")
    text_search = ("key", "account__user__username__startswith")
    search_help_text = "How the owner's name begins, the whole key, or the whole id of a key or an account."
    fields = (
        ("name", "account"), ("key", "is_active"), ("permissions", "allowed_ips"),
        ("shown_expires_at", "shown_last_used_at", "shown_created_at"),
    )  # fmt: skip
    actions_row = ("revoke_key",)
    actions_detail = ("revoke_key",)
    shown_expires_at = operators.moment("expires_at")
    shown_last_used_at = operators.moment("last_used_at")
    shown_created_at = operators.moment("created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None):
        return (
            "name", "account", "key", "is_active", "permissions", "allowed_ips", "shown_expires_at",
            "shown_last_used_at", "shown_created_at",
        )  # fmt: skip

    def has_revoke_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("accounts.change_apikey")

    @action(description="Revoke", url_path="revoke", permissions=["revoke"], icon="key_off")
    def revoke_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = operators.find(ApiKey.objects.select_related("account__user"), object_id)

        def act(data: dict) -> str:
            api_keys.end(row)
            operators.log(request, [row], f"Revoked: {data['reason']}")
            return f"{row} is revoked."

        return operators.ask(
            self,
            request,
            title=f"Revoke {row}",
            text="Its secret is erased and its sockets are closed. It cannot be undone.",
            button="Revoke",
            act=act,
            back=operators.list_url(ApiKey),
            danger=True,
        )


@admin.register(AccessAttempt)
class AccessAttemptAdmin(operators.SoundLists, ModelAdmin):
    """Failed logins that still count; deleting one lifts its lockout."""

    list_display = ("username", "ip_address", "failures_since_start", "attempt_time")
    list_per_page = 50
    show_full_result_count = False
    ordering = ("-id",)
    search_fields = ("username", "ip_address")
    fields = (("username", "ip_address"), ("failures_since_start", "attempt_time"), "user_agent")

    def get_readonly_fields(self, request: HttpRequest, obj: AccessAttempt | None = None):
        return ("username", "ip_address", "failures_since_start", "attempt_time", "user_agent")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AccessAttempt | None = None) -> bool:
        return False


def ask_removal(admin_: ModelAdmin, request: HttpRequest, user: User) -> HttpResponse:
    """The page on which a superuser takes a lost second factor away."""

    def act(data: dict) -> str:
        removed, _ = TOTPDevice.objects.filter(user=user).delete()
        if not removed:
            raise forms.ValidationError(f"{user} has no second factor.")
        operators.log(request, [user], f"Second factor removed: {data['reason']}")
        return f"{user} has no second factor any more."

    return operators.ask(
        admin_,
        request,
        title=f"Remove the second factor of {user}",
        text="For somebody who lost the authenticator. From then on the password alone opens the account.",
        button="Remove",
        act=act,
        back=operators.change_url(user),
        danger=True,
    )
