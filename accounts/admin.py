"""The operators' pages for people, accounts and the ledger.

Users are made by accounts.users.register, so that each has a main account; balances are changed by
accounts.transfers.adjust only, with a reason. Everything else about money is read-only, and nothing is ever deleted.
"""

import uuid
from functools import partial

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django_otp.plugins.otp_totp.models import TOTPDevice
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.forms import UserChangeForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from accounts import access_admin, fee_admin, money_admin, position_admin, transfers, users
from accounts.competition_admin import CompetitionAdmin, CompetitionEntryAdmin
from accounts.models import Account, Balance, Entry, IdempotentRequest, Journal, User
from accounts.operator_login import PasswordForm
from marketdata import operators, units
from marketdata.models import Asset
from marketdata.refusals import Refusal

__all__ = ["CompetitionAdmin", "CompetitionEntryAdmin", "fee_admin", "position_admin"]
PRIVILEGES = ("is_staff", "is_superuser", "groups", "user_permissions")

# Tokens and second factors are secrets: not even operators get to read them.
for secret in (BlacklistedToken, OutstandingToken, TOTPDevice):
    if admin.site.is_registered(secret):
        admin.site.unregister(secret)
admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(operators.SoundLists, DjangoGroupAdmin, ModelAdmin):
    """Bundles of permissions; for superusers only, because who edits a group can give themselves anything."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    has_add_permission = has_module_permission
    has_view_permission = has_delete_permission = has_change_permission


# People


class AddUserForm(UserCreationForm):
    """Name and password; the password goes through the venue's validators."""

    usable_password = None

    class Meta(UserCreationForm.Meta):
        model = User
        fields = ("username", "email")


class AccountsOfUser(operators.HistoryInline):
    """A person's purses and what is in them."""

    model = Account
    fields = ("id", "kind", "name", "is_active", "holds")
    show_change_link = True

    def get_queryset(self, request: HttpRequest):
        return super().get_queryset(request).prefetch_related("balances__asset")

    @display(description="balances")
    def holds(self, account: Account) -> str:
        return ", ".join(_balance_text(balance) for balance in account.balances.all()) or "–"


def _balance_text(balance: Balance) -> str:
    reserved = f" ({units.plain(balance.reserved)} reserved)" if balance.reserved else ""
    return f"{units.plain(balance.total)} {balance.asset}{reserved}"


class EditUserForm(operators.EditForm, UserChangeForm):
    """Name, address, switches and privileges; the password has a page of its own."""


@admin.register(User)
class UserAdmin(DjangoUserAdmin, operators.OperatorAdmin):
    """People. Only superusers hand out privileges, and only they edit superusers."""

    form = EditUserForm
    add_form = AddUserForm
    change_password_form = PasswordForm
    list_display = ("username", "email", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff")
    ordering = ("-id",)
    exact_search = ("id",)
    text_search = ("username__startswith",)
    search_help_text = "How the name begins, or the whole id."
    readonly_fields = ("last_login", "date_joined")
    add_fieldsets = ((None, {"fields": ("username", "email", "password1", "password2")}),)
    inlines = (AccountsOfUser,)
    actions_detail = ("remove_second_factor",)

    def has_remove_factor_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.is_superuser

    @action(description="Remove second factor", url_path="second-factor", permissions=["remove_factor"], icon="key_off")
    def remove_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return access_admin.ask_removal(self, request, operators.find(User, object_id))

    def get_inlines(self, request: HttpRequest, obj: User | None):
        return self.inlines if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None):
        fixed = super().get_readonly_fields(request, obj)
        return fixed if request.user.is_superuser else (*fixed, *PRIVILEGES)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool) -> None:
        """A new user comes through the one door, with a main account."""
        if change:
            return super().save_model(request, obj, form, change)
        made = users.register(username=obj.username, password=form.cleaned_data["password1"], email=obj.email)
        obj.pk, obj.password, obj._state.adding = made.pk, made.password, False
        return None


# Accounts and balances


class AdjustForm(money_admin.TakingForm):
    """A correction of one balance. `request_key` makes sending the same page twice one adjustment."""

    asset = forms.ModelChoiceField(Asset.objects.all(), widget=UnfoldAdminSelectWidget())
    amount = forms.DecimalField(
        max_digits=38,
        decimal_places=18,
        widget=UnfoldAdminDecimalFieldWidget(),
        help_text="Above zero adds to the balance, below zero takes from what is available.",
    )
    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Stands in the journal for ever.",
    )
    request_key = forms.UUIDField(widget=forms.HiddenInput(), initial=uuid.uuid4)


class AlreadyPosted(Refusal):
    """The same page was sent before."""

    code, status, title = "already_posted", 409, "This adjustment is posted already; open the page anew for another."


def adjust(request: HttpRequest, account: Account, data: dict) -> str:
    """Post the adjustment once, log it, and say what was done. Raises the refusals of accounts.transfers."""
    asset, amount = data["asset"], data["amount"]
    try:
        with transaction.atomic():
            IdempotentRequest.objects.create(
                account=account, key=f"admin-adjust-{data['request_key']}", fingerprint="", status=201, body={}
            )
            moved = transfers.adjust(
                account=account, asset=asset, amount=amount, reason=data["reason"], actor_id=request.user.pk,
                spares_losses=not data["despite_losses"],
            )  # fmt: skip
    except IntegrityError:
        raise AlreadyPosted from None
    signed = f"{'+' if amount > 0 else ''}{units.plain(amount)} {asset}"
    operators.log(request, [account], f"Adjusted by {signed} (journal {moved.journal_id}): {data['reason']}")
    return f"{account}: {signed}, journal {moved.journal_id}."


def ask_adjustment(
    admin_: ModelAdmin, request: HttpRequest, account: Account, asset_id: int | None = None
) -> HttpResponse:
    """The page that asks for asset, amount and reason."""
    return operators.ask(
        admin_,
        request,
        form=AdjustForm(request.POST or None, initial={"asset": asset_id}),
        title=f"Adjust a balance of {account}",
        text="Posts one journal between this account and the outside world. It cannot be undone, only adjusted back.",
        button="Post adjustment",
        act=partial(adjust, request, account),
        back=operators.change_url(account),
    )


class AdjustableAdmin(operators.OperatorAdmin):
    """Pages from which a balance can be adjusted: who may change balances may, although no page edits one."""

    def has_adjust_permission(self, request: HttpRequest, obj=None) -> bool:
        return request.user.has_perm("accounts.change_balance")


class BalancesOfAccount(operators.HistoryInline):
    """What an account holds."""

    model = Balance
    fields = ("asset", "shown_available", "shown_reserved", "shown_total")
    shown_available = operators.number("available")
    shown_reserved = operators.number("reserved")
    shown_total = operators.number("total")

    def get_queryset(self, request: HttpRequest):
        return super().get_queryset(request).select_related("asset")


@admin.register(Account)
class AccountAdmin(AdjustableAdmin):
    """Purses of people and of the house. Name and activity can be edited; the matcher owns the rest."""

    list_display = ("id", "__str__", "kind", "user", "market", "is_active", "created_at")
    list_display_links = ("id", "__str__")
    list_filter = ("kind", "is_active")
    list_select_related = ("user", "market")
    ordering = ("-id",)
    exact_search = ("id",)
    text_search = ("user__username__startswith",)
    search_help_text = "How the owner's name begins, or the whole id."
    fields = (("kind", "user"), ("name", "is_active"), ("market", "event_sequence"), "created_at")
    readonly_fields = ("kind", "user", "market", "event_sequence", "created_at")
    inlines = (BalancesOfAccount,)
    actions_detail = ("adjust_balance", "transfer_funds")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_adjust_permission(self, request: HttpRequest, obj: str | None = None) -> bool:
        """Everybody's but the outside world's, which is the other side of each adjustment."""
        outside = Account.objects.filter(kind=Account.Kind.OUTSIDE)
        is_outside = obj is not None and outside.filter(pk=operators.row_id(obj)).exists()
        return super().has_adjust_permission(request) and not is_outside

    @action(description="Adjust a balance", url_path="adjust", permissions=["adjust"], icon="balance")
    def adjust_balance(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = operators.find(Account, object_id)
        return ask_adjustment(self, request, account)

    @action(description="Transfer", url_path="transfer", permissions=["adjust"], icon="sync_alt")
    def transfer_funds(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = operators.find(Account, object_id)
        return money_admin.ask_transfer(self, request, account)


@admin.register(Balance)
class BalanceAdmin(operators.HistoryAdmin, AdjustableAdmin):
    """What everybody holds; changed by adjustments only."""

    list_display = ("account", "asset", "shown_available", "shown_reserved", "shown_total")
    list_filter = ("asset",)
    list_select_related = ("account__user", "account__market", "asset")
    fields = (("account", "asset"), ("shown_available", "shown_reserved", "shown_total"))
    exact_search = ("account_id",)
    text_search = ("account__user__username__startswith",)
    search_help_text = "How the owner's name begins, or the whole account id."
    actions_row = ("adjust_balance",)
    actions_detail = ("adjust_balance",)
    shown_available = operators.number("available")
    shown_reserved = operators.number("reserved")
    shown_total = operators.number("total")

    def get_readonly_fields(self, request: HttpRequest, obj: Balance | None = None):
        return ("account", "asset", "shown_available", "shown_reserved", "shown_total")

    @action(description="Adjust", url_path="adjust", permissions=["adjust"], icon="balance")
    def adjust_balance(self, request: HttpRequest, object_id: str) -> HttpResponse:
        balance = operators.find(Balance.objects.select_related("account"), object_id)
        return ask_adjustment(self, request, balance.account, balance.asset_id)


# The ledger


class EntriesOfJournal(operators.HistoryInline):
    """The lines of a journal; they sum to zero per asset."""

    model = Entry
    fields = ("account", "asset", "shown_amount", "shown_balance_after")
    shown_amount = operators.number("amount")
    shown_balance_after = operators.number("balance_after")

    def get_queryset(self, request: HttpRequest):
        return super().get_queryset(request).select_related("account__user", "account__market", "asset").order_by("id")


@admin.register(Journal)
class JournalAdmin(operators.HistoryAdmin):
    """Every reason for which a balance changed."""

    list_display = ("id", "kind", "reference", "reason", "actor", "shown_created_at")
    list_filter = ("kind",)
    list_select_related = ("actor",)
    exact_search = ("id",)
    search_help_text = "The whole id."
    fields = (("kind", "reference"), ("actor", "shown_created_at"), "reason")
    shown_created_at = operators.moment("created_at")
    inlines = (EntriesOfJournal,)

    def get_readonly_fields(self, request: HttpRequest, obj: Journal | None = None):
        return ("kind", "reference", "actor", "shown_created_at", "reason")


@admin.register(Entry)
class EntryAdmin(operators.HistoryAdmin):
    """The lines of all journals: search by account or journal id for a statement."""

    list_display = ("id", "journal", "account", "asset", "shown_amount", "shown_balance_after")
    list_select_related = ("journal", "account__user", "account__market", "asset")
    exact_search = ("account_id", "journal_id")
    search_help_text = "The whole id of an account or of a journal."
    fields = ("journal", "account", "asset", "shown_amount", "shown_balance_after")
    shown_amount = operators.number("amount")
    shown_balance_after = operators.number("balance_after", "balance after it")
