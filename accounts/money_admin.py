"""The operators' pages for money that waits or moves: withdrawals to decide, transfers, what traders hold.

Everything goes through accounts.withdrawals and accounts.transfers; who did it, when and why stays in the row, the
journal and the log. Imported by accounts.admin.
"""

import uuid
from functools import partial

from django import forms
from django.contrib import admin
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldBooleanSwitchWidget,
)
from unfold.widgets import UnfoldAdminTextareaWidget as Textarea

from accounts import transfers, withdrawals
from accounts.models import Account, Holding, IdempotentRequest, Realization, Withdrawal
from marketdata import operators, units
from marketdata.models import Asset
from marketdata.refusals import Refusal


class NoteForm(forms.Form):
    """What the operator says to it, if anything."""

    reason = forms.CharField(
        max_length=200, required=False, widget=Textarea(attrs={"rows": 2}), help_text="The user can read it."
    )


class RejectForm(NoteForm):
    """Saying no needs a reason."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = True


@admin.register(Withdrawal)
class WithdrawalAdmin(operators.HistoryAdmin):
    """What users want to take out; the amount is reserved until somebody decides."""

    list_display = ("id", "account", "asset", "shown_amount", "status", "shown_requested_at", "decided_by")
    list_filter = ("status", "asset")
    list_select_related = ("account__user", "account__market", "asset", "decided_by")
    fields = (
        ("account", "status"), ("asset", "shown_amount"), ("shown_requested_at", "shown_decided_at"),
        ("decided_by", "journal_id"), "reason",
    )  # fmt: skip
    exact_search = ("id", "account_id")
    text_search = ("account__user__username__startswith",)
    search_help_text = "How the owner's name begins, or the whole id of a withdrawal or an account."
    actions_row = ("approve_withdrawal", "reject_withdrawal")
    actions_detail = ("approve_withdrawal", "reject_withdrawal")
    shown_amount = operators.number("amount")
    shown_requested_at = operators.moment("requested_at")
    shown_decided_at = operators.moment("decided_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Withdrawal | None = None):
        return (
            "account", "status", "asset", "shown_amount", "shown_requested_at", "shown_decided_at", "decided_by",
            "journal_id", "reason",
        )  # fmt: skip

    def has_decide_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm("accounts.change_withdrawal")

    @action(description="Approve", url_path="approve", permissions=["decide"], icon="check")
    def approve_withdrawal(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(request, object_id, withdrawals.approve, NoteForm, "Approve")

    @action(description="Reject", url_path="reject", permissions=["decide"], icon="close")
    def reject_withdrawal(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(request, object_id, withdrawals.reject, RejectForm, "Reject")

    def _ask(self, request: HttpRequest, object_id: str, decide, form: type[forms.Form], word: str) -> HttpResponse:
        row = operators.find(Withdrawal.objects.select_related("account__user", "asset"), object_id)
        amount = f"{units.plain(row.amount)} {row.asset}"

        def act(data: dict) -> str:
            decided = decide(withdrawal_id=row.pk, actor=request.user, reason=data["reason"])
            operators.log(request, [row], f"{decided.status}: {data['reason']}")
            return f"Withdrawal {row.pk} of {amount} is {decided.status}."

        return operators.ask(
            self,
            request,
            form=form(request.POST if request.method == "POST" else None),
            title=f"{word} withdrawal {row.pk}: {amount} of {row.account}",
            text="An approval pays out by one journal, a rejection gives the money back. Neither can be undone.",
            button=word,
            act=act,
            back=operators.list_url(Withdrawal),
            danger=decide is withdrawals.reject,
        )


@admin.register(Holding)
class HoldingAdmin(operators.HistoryAdmin):
    """What traders bought, and what it cost them."""

    list_display = ("account", "asset", "quote", "shown_quantity", "shown_cost", "shown_fees", "fills")
    list_select_related = ("account__user", "account__market", "asset", "quote")
    exact_search = ("account_id",)
    search_help_text = "The whole account id."
    fields = (("account", "asset", "quote"), ("shown_quantity", "shown_cost"), ("shown_fees", "fills"))
    shown_quantity = operators.number("quantity")
    shown_cost = operators.number("cost")
    shown_fees = operators.number("fees")

    def get_readonly_fields(self, request: HttpRequest, obj: Holding | None = None):
        return ("account", "asset", "quote", "shown_quantity", "shown_cost", "shown_fees", "fills")


@admin.register(Realization)
class RealizationAdmin(operators.HistoryAdmin):
    """What selling brought."""

    list_display = (
        "id", "account", "asset", "shown_quantity", "shown_proceeds", "shown_cost", "shown_pnl", "quote", "trade_id",
    )  # fmt: skip
    list_select_related = ("account__user", "account__market", "asset", "quote")
    exact_search = ("account_id",)
    search_help_text = "The whole account id."
    fields = (
        ("account", "asset", "quote"), ("shown_quantity", "trade_id"), ("shown_proceeds", "shown_cost", "shown_pnl"),
        "shown_realized_at",
    )  # fmt: skip
    shown_quantity = operators.number("quantity")
    shown_proceeds = operators.number("proceeds")
    shown_cost = operators.number("cost")
    shown_pnl = operators.number("pnl", "profit")
    shown_realized_at = operators.moment("realized_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Realization | None = None):
        return (
            "account", "asset", "quote", "shown_quantity", "trade_id", "shown_proceeds", "shown_cost", "shown_pnl",
            "shown_realized_at",
        )  # fmt: skip


# Transfers


class TakingForm(forms.Form):
    """What may take from an account that has open positions."""

    despite_losses = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Take also what its open positions have lost by now, or lack of their margin.",
    )


class TransferForm(TakingForm):
    """From the account of the page to another. `request_key` makes sending the page twice one transfer."""

    to_account = forms.IntegerField(
        min_value=1, max_value=operators.MAX_ID, widget=UnfoldAdminIntegerFieldWidget(), help_text="The account's id."
    )
    asset = forms.ModelChoiceField(Asset.objects.all(), widget=UnfoldAdminSelectWidget())
    amount = forms.DecimalField(max_digits=38, decimal_places=18, widget=UnfoldAdminDecimalFieldWidget())
    reason = forms.CharField(
        max_length=200, widget=Textarea(attrs={"rows": 2}), help_text="Stands in the journal for ever."
    )
    request_key = forms.UUIDField(widget=forms.HiddenInput(), initial=uuid.uuid4)

    def clean_to_account(self) -> Account:
        account = Account.objects.filter(pk=self.cleaned_data["to_account"]).first()
        if account is None:
            raise forms.ValidationError("There is no such account.")
        return account


class AlreadyTransferred(Refusal):
    """The same page was sent before."""

    code, status, title = "already_posted", 409, "This transfer is posted already; open the page anew for another."


def ask_transfer(admin_: ModelAdmin, request: HttpRequest, account: Account) -> HttpResponse:
    """The page that asks where to, what and why."""
    return operators.ask(
        admin_,
        request,
        form=TransferForm(request.POST or None),
        title=f"Transfer from {account}",
        text="Posts one journal between the two accounts. It cannot be undone, only transferred back.",
        button="Post transfer",
        act=partial(transfer, request, account),
        back=operators.change_url(account),
    )


def transfer(request: HttpRequest, account: Account, data: dict) -> str:
    """Post the transfer once, log it on both accounts, and say what was done."""
    other, asset, amount = data["to_account"], data["asset"], data["amount"]
    key = f"admin-transfer-{data['request_key']}"
    try:
        with transaction.atomic():
            IdempotentRequest.objects.create(account=account, key=key, fingerprint="", status=201, body={})
            moved = transfers.transfer(
                from_account=account, to_account=other, asset=asset, amount=amount, reason=data["reason"],
                actor_id=request.user.pk, spares_losses=not data["despite_losses"],
            )  # fmt: skip
    except IntegrityError:
        raise AlreadyTransferred from None
    said = f"{units.plain(amount)} {asset} from {account} to {other} (journal {moved.journal_id})"
    operators.log(request, [account, other], f"Transferred {said}: {data['reason']}")
    return f"{said}."
