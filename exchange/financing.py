"""Financing (swap): what holders of margin positions pay or get for each rollover that they held over.

Who held what is read from the fills, so that it does not matter when a rollover is posted: a venue that was down then,
or posts late, charges those who held at that moment, closed positions included. A rollover is priced once, at the mark
of its first posting (there is no history of marks); whatever is left of it is posted at that price. Each account is
charged once, by UNIQUE, in the transaction of its journal. So it may be posted by anybody, at any time, twice.

The other side is the market's clearing account: what longs pay and shorts get is never quite the same, and the
difference is the house's. The house's own positions are not charged. What an account cannot pay, the insurance fund
pays, as in exchange.margin; but the account's open orders go before that.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import F, Max, Min

from accounts import conversion, covering, house, ledger, positions
from accounts.financing_models import ArchivedPosition, FinancingCharge, Rollover
from accounts.models import Journal, Position, Shortfall
from exchange import by_time, margin_reading, orders, risk_reading, rollovers, weighing
from exchange.risk_index import Key
from exchange.rollovers import Calendar, Due
from marketdata import bulk, clock, marks, threads, units
from marketdata.contracts import RATE_DECIMALS
from marketdata.markets import UNREADABLE, MarketSpec, spec_of
from marketdata.marks import StalePrice
from marketdata.models import Contract, Market

logger = logging.getLogger(__name__)

TABLES = (Position, ArchivedPosition)
#: Accounts charged in one transaction.
CHUNK = 100

#: What each account held just before a moment: what it has now, less all that was filled since. That is every fill from
#: the first one of that moment or later on: within a market ids tell the order, moments do not where a clock was moved.
HELD = """
SELECT account_id, sum(quantity) FROM (
    SELECT p.account_id, p.quantity FROM accounts_position p WHERE p.market_id = %(market)s AND p.closed_at IS NULL
    UNION ALL
    SELECT f.account_id, CASE f.side WHEN 'BUY' THEN -f.quantity ELSE f.quantity END
    FROM exchange_fill f WHERE f.market_id = %(market)s AND f.id >= (
        SELECT min(id) FROM exchange_fill WHERE market_id = %(market)s AND id >= %(first)s AND executed_at >= %(at)s
    )
) moved
JOIN accounts_account a ON a.id = moved.account_id AND a.user_id IS NOT NULL
WHERE NOT EXISTS (SELECT FROM accounts_financingcharge c WHERE c.account_id = a.id AND c.rollover_id = %(rollover)s)
GROUP BY account_id HAVING sum(quantity) <> 0 ORDER BY account_id
"""

_pool = threads.Pool(1, "financing")
in_thread = _pool.run
stop_threads = _pool.stop


def post_due(until: datetime | None = None) -> int:
    """Post every rollover that has passed, at `until` unless that is now; how many charges were made. One market that
    cannot be charged now holds up no other.
    """
    until = until or clock.now()
    rows = Contract.objects.select_related("settlement", *(f"market__{name}" for name in ("base", "quote")))
    charged = 0
    for contract in rows.order_by("market_id"):
        try:
            charged += _post_market(contract, until)
        except (StalePrice, *UNREADABLE) as error:  # its positions are charged once that is mended
            logger.warning("financing of %s waits: %r", contract.market.symbol, error)
    return charged


def _post_market(contract: Contract, until: datetime) -> int:
    # Read once: a rollover that had no price would be passed over if the next one had.
    if mark := marks.mark(contract.market_id):
        for due in _due(contract, until):
            _price(contract, due, mark.price)
    waiting = Rollover.objects.filter(market=contract.market_id, posted_at__isnull=True, at__lte=until)
    return sum(_post(contract, rollover) for rollover in waiting.order_by("at"))


def _due(contract: Contract, until: datetime) -> Iterable[Due]:
    """The rollovers up to that moment since the last priced one, or since the market's first position."""
    last = Rollover.objects.filter(market=contract.market_id).aggregate(at=Max("at"))["at"]
    if last is None:
        held = [table.objects.filter(market=contract.market_id) for table in TABLES]
        last = min((at for rows in held if (at := rows.aggregate(at=Min("opened_at"))["at"])), default=None)
    if last is None:
        return []
    calendar = Calendar(contract.rollover_time, ZoneInfo(contract.rollover_zone), contract.triple_day)
    return list(calendar.between(last, until))


def _price(contract: Contract, due: Due, price: Decimal) -> None:
    """Fix what the rollover is charged at, unless it is fixed already."""
    Rollover.objects.get_or_create(
        market_id=contract.market_id,
        day=due.day,
        defaults={
            "at": due.at,
            "days": due.days,
            "price": price,
            "conversion": conversion.price_of(spec_of(contract.market)),
            "long_rate": contract.financing_long_rate,
            "short_rate": contract.financing_short_rate,
        },
    )


def _post(contract: Contract, rollover: Rollover) -> int:
    """Charge everybody who has not been charged yet."""
    _let_pass(contract.market_id)
    spec, charged = spec_of(contract.market), 0
    while rows := dict(held_at(rollover)[:CHUNK]):
        done, short = _charge(contract, spec, rollover, rows)
        if short:
            _cancel_orders(short, contract.settlement_id)
            again, _ = _charge(contract, spec, rollover, {account: rows[account] for account in short}, is_last=True)
            done += again
        charged += done
    Rollover.objects.filter(pk=rollover.pk).update(posted_at=clock.now())
    return charged


def _let_pass(market_id: int) -> None:
    """Wait for the batch that has the market: its fills may be of before the rollover, and are not seen before it has
    committed. Whoever has the lock next takes its moment after this.
    """
    with transaction.atomic():
        Market.objects.select_for_update(no_key=True).only("id").get(pk=market_id)


def held_at(rollover: Rollover) -> list[tuple[int, Decimal]]:
    """(account, quantity) of every user that held something then and has not been charged for it."""
    with connection.cursor() as cursor:
        terms = {
            "market": rollover.market_id,
            "rollover": rollover.pk,
            "at": rollover.at,
            "first": by_time.first_fill_since(cursor, rollover.at),
        }
        cursor.execute(HELD, terms)
        return cursor.fetchall()


@dataclass(slots=True)
class Bill:
    """One account's charge: what it held, what that costs, what it could not pay, and what the fund paid of that."""

    account_id: int
    quantity: Decimal
    amount: int
    short: int = 0
    covered: int = 0


def _charge(
    contract: Contract, spec: MarketSpec, rollover: Rollover, held: dict[int, Decimal], *, is_last: bool = False
) -> tuple[int, list[int]]:
    """Charge these accounts, in one transaction; how many were not charged before. Who cannot pay and has set funds
    aside is not charged yet, but named, unless this `is_last`.
    """
    asset, clearing = contract.settlement, house.clearing_account(spec.id).id
    fund = house.insurance_fund().id
    with transaction.atomic(), ledger.working_sheet([*held, fund], [asset]) as sheet:
        charges = FinancingCharge.objects.filter(rollover=rollover, account__in=held)
        known = set(charges.values_list("account_id", flat=True))
        bills = [
            Bill(account, quantity, _amount(contract, spec, rollover, quantity))
            for account, quantity in held.items()
            if account not in known
        ]
        with connection.cursor() as cursor:
            sheet.positions = positions.read(cursor, held)
            waiting = [] if is_last else [bill for bill in bills if _counts_on_orders(sheet, asset.pk, bill)]
            bills = [bill for bill in bills if bill not in waiting]
            for bill in bills:
                _pay(sheet, asset.pk, fund, clearing, bill, rollover)
            if sheet.positions.changed:
                bulk.execute(cursor, positions.statements(sheet.positions, [], clock.now()))
        _record(contract, spec, rollover, bills, sheet)
    return len(bills), [bill.account_id for bill in waiting]


def _counts_on_orders(sheet: ledger.Sheet, asset: int, bill: Bill) -> bool:
    at_hand, set_aside = weighing.funds_of(sheet.positions, sheet, bill.account_id, asset)
    return bill.amount > at_hand and set_aside > 0


def _cancel_orders(accounts: Iterable[int], asset: int) -> None:
    """Take out what the accounts have set funds aside for, where the market's figures can be read."""
    for account in accounts:
        orders.cancel_these(risk_reading.orders_to_cancel(Key(account, asset)), reason="financing")


def _amount(contract: Contract, spec: MarketSpec, rollover: Rollover, quantity: Decimal) -> int:
    lots = spec.lots(quantity)
    rate = rollover.long_rate if lots > 0 else rollover.short_rate
    scale = Fraction(10) ** (spec.contract.settlement_decimals - spec.quote_decimals)
    return rollovers.interest(
        value=positions.value_at(spec, lots, rollover.price),
        rate=units.to_units(rate, RATE_DECIMALS),
        days=rollover.days,
        year=contract.financing_days,
        conversion=Fraction(rollover.conversion) * scale,
    )


def _pay(sheet: ledger.Sheet, asset: int, fund: int, clearing: int, bill: Bill, rollover: Rollover) -> None:
    """One account's journal: from what is free, then from what its positions have reserved and gained, then from the
    fund.
    """
    bill.short, gained = covering.cover(sheet, sheet.positions, bill.account_id, asset, bill.amount)
    bill.covered = min(bill.short, sheet.available(fund, asset))
    entries = [(bill.account_id, asset, gained + bill.short - bill.amount), (fund, asset, -bill.covered)]
    entries.append((clearing, asset, -sum(amount for _, _, amount in entries)))
    sheet.post(
        Journal.Kind.FINANCING, entries, reference=rollover.pk, reason=f"financing of {rollover}", outside=clearing
    )


def _record(
    contract: Contract, spec: MarketSpec, rollover: Rollover, bills: list[Bill], sheet: ledger.Sheet
) -> None:
    """Keep the charges, on the positions too, and tell their owners."""
    asset, now = contract.settlement, clock.now()

    def decimal(amount: int) -> Decimal:
        return units.from_units(amount, asset.decimals)

    for bill in bills:
        FinancingCharge.objects.create(
            account_id=bill.account_id, rollover=rollover, asset=asset, quantity=bill.quantity,
            amount=decimal(bill.amount), created_at=now,
        )  # fmt: skip
        if bill.short:
            Shortfall.objects.create(
                account_id=bill.account_id, market_id=spec.id, asset=asset, amount=decimal(bill.short),
                covered=decimal(bill.covered), uncovered=decimal(bill.short - bill.covered), created_at=now,
            )  # fmt: skip
        charged = _put_on_position(bill.account_id, rollover, decimal(bill.amount))
        others = {one.id for one in sheet.positions.changed if one.account == bill.account_id}
        if held := sheet.positions.of(bill.account_id, spec):
            others.add(held.id)  # told last: what was charged may be closed by now
        rows = [charged] if isinstance(charged, Position) else []  # nobody is shown what was put away
        rows += Position.objects.filter(pk__in=others - {charged.id}).order_by("pk")
        for row in rows:
            told = margin_reading.live(row)
            leverage = sheet.positions.leverage(bill.account_id, told.spec)
            sheet.emit(bill.account_id, positions.event(told, leverage))
        event = {
            "type": "financing",
            "symbol": spec.symbol,
            "day": rollover.day.isoformat(),
            "quantity": units.plain(bill.quantity),
            "amount": units.text(bill.amount, asset.decimals),
            "asset": asset.symbol,
        }
        sheet.emit(bill.account_id, event)


def _put_on_position(account_id: int, rollover: Rollover, amount: Decimal) -> Position | ArchivedPosition:
    """Count it with the position that was held then: the last one that had been opened by that time. Where a clock was
    put back none may say so; then it is the first. Its row is locked from the look at it, so that nobody puts it away
    in between (accounts.position_archive). Returns it as it is now.
    """
    terms = {"account": account_id, "market": rollover.market_id}
    tables = [table.objects.select_for_update(no_key=True).filter(**terms) for table in TABLES]
    opened = [rows.filter(opened_at__lt=rollover.at).order_by("-opened_at", "-id").first() for rows in tables]
    held = next(row for row in (*opened, *(rows.order_by("id").first() for rows in tables)) if row is not None)
    type(held).objects.filter(pk=held.pk).update(financing=F("financing") + amount)
    held.financing += amount
    return held
