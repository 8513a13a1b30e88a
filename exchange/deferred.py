"""Deferred settlement: a trade is binding at once, what was traded changes hands n business days later.

Until then both sides hold what they owe in reserve, so that it can be neither spent nor withdrawn: the buyer the
notional and the fee, the seller the quantity. Settling releases both and posts the trade's one journal, which is the
same that a market without deferral posts at once; fees are paid then, too.

Due is a trade at the close of the n-th session after its own by the market's calendar; without a calendar, or with one
that has no such session, at the end of the n-th weekday in UTC. `settle_due` is what the clockwork and `end_of_day` do;
doing it twice settles nothing twice. What cannot be settled stays reserved on both sides, with the reason in its row,
for an operator: an account that an operator has deactivated does not take part until the operator settles the trade by
hand.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction

from accounts import holdings, ledger
from accounts.ledger import Sheet
from accounts.models import Account, Holding, Journal
from exchange.books import LiveBook, Match
from exchange.models import Trade
from exchange.settlement_models import Settlement
from marketdata import bulk, clock, units
from marketdata.calendar import end_of_utc_day, weekdays_after
from marketdata.markets import MarketSpec
from marketdata.refusals import NotFound, Refusal

#: Trades that one look settles, so that it comes to an end.
SETTLED_AT_ONCE = 1_000


class AlreadySettled(Refusal):
    code, status, title = "already_settled", 409, "The trade is settled"


class NotDeferred(Refusal):
    code, status, title = "not_deferred", 409, "The trade settled at once"


class CannotSettle(Refusal):
    code, status, title = "cannot_settle", 409, "The trade cannot be settled"


# In the batch


def hold(sheet: Sheet, spec: MarketSpec, buyer: int, seller: int, match: Match, buyer_fee: int) -> None:
    """Set both legs of a match aside; what the orders had reserved for them is free already."""
    sheet.reserve(buyer, spec.quote_id, match.notional + buyer_fee)
    sheet.reserve(seller, spec.base_id, match.lots * spec.lot_units)


def is_deferred(live: LiveBook) -> bool:
    """Positions net at once: only spot trades wait."""
    return live.spec.rules.settlement_days > 0 and live.spec.contract is None


def statements(records: Sequence, moment: datetime) -> list[bulk.Statement]:
    """The rows of those trades of a batch that settle later."""
    rows = [_row(record, moment) for record in records if is_deferred(record.live)]
    if not rows:
        return []
    names = (
        ("trade_id", "bigint"), ("market_id", "bigint"), ("buyer_id", "bigint"), ("seller_id", "bigint"),
        ("quantity", "numeric"), ("notional", "numeric"), ("buyer_fee", "numeric"), ("seller_fee", "numeric"),
        ("due_at", "timestamptz"), ("error", "text"),
    )  # fmt: skip
    columns = [(*name, values) for name, values in zip(names, zip(*rows, strict=True), strict=True)]
    return [bulk.insert("exchange_settlement", columns)]


def _row(record, moment: datetime) -> tuple:
    match, spec = record.match, record.live.spec
    buy, sell, buyer_fee, seller_fee = sides(match)
    return (
        record.id, spec.id, buy.account, sell.account, spec.quantity_text(match.lots), spec.quote_text(match.notional),
        spec.quote_text(buyer_fee), spec.quote_text(seller_fee), clock.text(due_at(spec, moment)), "",
    )  # fmt: skip


def sides(match: Match) -> tuple:
    """(buy order, sell order, buyer's fee, seller's fee)."""
    if match.taker.side > 0:
        return match.taker, match.maker, match.taker_fee, match.maker_fee
    return match.maker, match.taker, match.maker_fee, match.taker_fee


def due_at(spec: MarketSpec, moment: datetime) -> datetime:
    """When a trade of this moment is due."""
    calendar, days = spec.rules.calendar, spec.rules.settlement_days
    session = calendar and calendar.add_days(moment, days)
    return session.closes if session else end_of_utc_day(weekdays_after(moment.date(), days))


# Later


def settle(trade_id: int, *, actor_id: int | None = None, by_hand: bool = False) -> Settlement:
    """Settle one trade: NotFound, NotDeferred, AlreadySettled, or CannotSettle with both legs still reserved."""
    row = Settlement.objects.select_related("market__base", "market__quote", "trade").filter(pk=trade_id).first()
    if row is None:
        raise _missing(trade_id)
    fees = ledger.fee_account(row.market_id).id
    market = row.market
    with transaction.atomic():
        with ledger.working_sheet({row.buyer_id, row.seller_id, fees}, [market.base, market.quote]) as sheet:
            if not Settlement.objects.filter(pk=trade_id, settled_at=None).update(settled_at=sheet.moment, error=""):
                raise AlreadySettled(f"Trade {trade_id} is settled already.")
            if not by_hand:
                _check_accounts(row)
            fills = _pay(sheet, row, fees, actor_id)
        _keep_holdings(row, fills, sheet)
    row.settled_at, row.error = sheet.moment, ""
    return row


def _missing(trade_id: int) -> Refusal:
    if Trade.objects.filter(pk=trade_id).exists():
        return NotDeferred(f"Trade {trade_id} settled when it was made.")
    return NotFound(f"There is no trade {trade_id}.")


def _check_accounts(row: Settlement) -> None:
    blocked = Account.objects.filter(pk__in=(row.buyer_id, row.seller_id), is_active=False).order_by("pk").first()
    if blocked is not None:
        raise CannotSettle(f"Account {blocked.pk} is not active; an operator must decide.")


def _pay(sheet: Sheet, row: Settlement, fees: int, actor_id: int | None) -> list[holdings.OwnFill]:
    """Release both legs and post the journal. The users' shares of the trade, with what each owned before."""
    market = row.market
    base, quote = market.base, market.quote
    quantity = units.to_units(row.quantity, base.decimals)
    notional, buyer_fee, seller_fee = (
        units.to_units(value, quote.decimals) for value in (row.notional, row.buyer_fee, row.seller_fee)
    )
    owned = {account: _owned(sheet, account, base.id) for account in (row.buyer_id, row.seller_id)}
    sheet.release(row.buyer_id, quote.id, notional + buyer_fee)
    sheet.release(row.seller_id, base.id, quantity)
    sheet.post(
        Journal.Kind.TRADE,
        (
            (row.buyer_id, quote.id, -notional - buyer_fee),
            (row.buyer_id, base.id, quantity),
            (row.seller_id, base.id, -quantity),
            (row.seller_id, quote.id, notional - seller_fee),
            (fees, quote.id, buyer_fee + seller_fee),
        ),
        reference=row.trade_id,
        actor=actor_id,
    )
    shares = ((row.buyer_id, True, buyer_fee), (row.seller_id, False, seller_fee))
    return [
        holdings.OwnFill(
            account, base.id, quote.id, is_buy, quantity, notional, fee, owned[account], row.trade_id
        )
        for account, is_buy, fee in shares
        if sheet.holders[account].is_heard
    ]  # fmt: skip


def _owned(sheet: Sheet, account: int, asset: int) -> int:
    purse = sheet.purses[account, asset]
    return purse.available + purse.reserved


def _keep_holdings(row: Settlement, fills: list[holdings.OwnFill], sheet: Sheet) -> None:
    """Average costs follow the ledger: what was bought counts from its settlement on, at the trade's own moment."""
    kept = Holding.objects.filter(account_id__in=(row.buyer_id, row.seller_id), asset_id=row.market.base_id)
    rows = [
        (h.account_id, h.asset_id, h.quote_id, h.quantity, h.cost, h.fees, h.fills, h.quote.decimals)
        for h in kept.select_related("quote")
    ]
    with connection.cursor() as cursor:
        bulk.execute(cursor, holdings.statements(rows, fills, sheet.scales, row.trade.executed_at))


def settle_due(now: datetime) -> tuple[int, int]:
    """Settle what is due, oldest first: (settled, left to an operator). Those left before are not tried again."""
    due = Settlement.objects.filter(settled_at=None, due_at__lte=now, error="").order_by("due_at", "trade_id")
    settled = failed = 0
    for trade_id in list(due.values_list("pk", flat=True)[:SETTLED_AT_ONCE]):
        try:
            settle(trade_id)
            settled += 1
        except AlreadySettled:
            pass  # another process was faster
        except Refusal as refusal:
            Settlement.objects.filter(pk=trade_id, settled_at=None).update(error=refusal.detail[:200])
            failed += 1
    return settled, failed


def unsettled_bases(account_id: int) -> set[int]:
    """The assets that an account has bought and not received."""
    rows = Settlement.objects.filter(settled_at=None, buyer_id=account_id)
    return set(rows.values_list("market__base_id", flat=True))
