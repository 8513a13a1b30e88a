"""The operators' pages for settlements, and the kill switch on the page of an account. Imported by exchange.admin."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from accounts.admin import AccountAdmin
from accounts.models import Account
from exchange import deferred, kill_switch
from exchange.models import Settlement
from marketdata import operators


class SettlementFilter(admin.SimpleListFilter):
    """What waits, what waits for an operator, what is done."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin):
        return [("waits", "Not settled"), ("failed", "Waits for an operator"), ("settled", "Settled")]

    def queryset(self, request: HttpRequest, queryset):
        if self.value() == "settled":
            return queryset.filter(settled_at__isnull=False)
        if self.value() == "failed":
            return queryset.filter(settled_at=None).exclude(error="")
        return queryset.filter(settled_at=None) if self.value() == "waits" else queryset


@admin.register(Settlement)
class SettlementAdmin(operators.HistoryAdmin):
    """Trades that settle later than they happen."""

    list_display = (
        "trade_id", "market", "buyer", "seller", "shown_quantity", "shown_notional", "shown_due_at", "shown_settled_at",
        "error",
    )  # fmt: skip
    list_filter = (SettlementFilter, "market")
    list_select_related = ("market", "buyer__user", "buyer__market", "seller__user", "seller__market")
    ordering = ("-trade_id",)
    exact_search = ("trade_id", "buyer_id", "seller_id")
    search_help_text = "The whole id of the trade or of an account."
    fields = (
        ("trade", "market"), ("buyer", "seller"), ("shown_quantity", "shown_notional"),
        ("shown_buyer_fee", "shown_seller_fee"), ("shown_due_at", "shown_settled_at"), "error",
    )  # fmt: skip
    actions_row = ("settle",)
    actions_detail = ("settle",)
    shown_quantity = operators.number("quantity")
    shown_notional = operators.number("notional")
    shown_buyer_fee = operators.number("buyer_fee")
    shown_seller_fee = operators.number("seller_fee")
    shown_due_at = operators.moment("due_at", "due")
    shown_settled_at = operators.moment("settled_at", "settled")

    def get_readonly_fields(self, request: HttpRequest, obj: Settlement | None = None):
        return [name for row in self.fields for name in ((row,) if isinstance(row, str) else row)]

    def has_settle_permission(self, request: HttpRequest, obj=None) -> bool:
        """Settling needs the right to change settlements, although no page edits one."""
        return request.user.has_perm("exchange.change_settlement")

    @action(description="Settle now", url_path="settle", permissions=["settle"], icon="handshake")
    def settle(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = operators.find(Settlement.objects.select_related("market"), object_id)

        def act(data: dict) -> str:
            deferred.settle(row.pk, actor_id=request.user.pk, by_hand=True)
            operators.log(request, [row], f"Settled: {data['reason']}")
            return f"Trade {row.pk} is settled."

        return operators.ask(
            self,
            request,
            title=f"Settle trade {row.pk}",
            text=f"Delivers and pays now, whatever its day. {row.error}",
            button="Settle",
            act=act,
            back=operators.change_url(row),
        )


admin.site.unregister(Account)


@admin.register(Account)
class TradingAccountAdmin(AccountAdmin):
    """The page of accounts, with the kill switch."""

    list_display = (*AccountAdmin.list_display, "stopped")
    fields = (*AccountAdmin.fields, "stopped")
    readonly_fields = (*AccountAdmin.readonly_fields, "stopped")
    actions_detail = (*AccountAdmin.actions_detail, "stop", "resume")

    @display(description="kill switch")
    def stopped(self, account: Account) -> str:
        return f"pulled by {account.get_stopped_by_display().lower()}" if account.stopped_by else "–"

    @action(
        description="Stop trading",
        url_path="stop",
        permissions=["change"],
        icon="power_settings_new",
        variant=ActionVariant.DANGER,
    )
    def stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = operators.find(Account, object_id)

        def act(data: dict) -> str:
            cancelled = kill_switch.pull(account_id=account.pk, by=kill_switch.OPERATOR)
            operators.log(request, [account], f"Kill switch, {cancelled} orders cancelled: {data['reason']}")
            return f"{account} is stopped; {cancelled} orders were cancelled."

        text = "Cancels all its orders, in halted markets too, and refuses new ones until an operator resets it."
        return self._ask(request, account, f"Stop {account}", text, act, danger=True)

    @action(description="Resume trading", url_path="resume", permissions=["change"], icon="play_arrow")
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        account = operators.find(Account, object_id)

        def act(data: dict) -> str:
            kill_switch.reset(account_id=account.pk, by=kill_switch.OPERATOR)
            operators.log(request, [account], f"Kill switch reset: {data['reason']}")
            return f"{account} may trade again."

        return self._ask(request, account, f"Let {account} trade again", "It places orders again.", act)

    def _ask(self, request: HttpRequest, account: Account, title: str, text: str, act, danger: bool = False):
        return operators.ask(
            self,
            request,
            title=title,
            text=text,
            button=title,
            act=act,
            back=operators.change_url(account),
            danger=danger,
        )
