"""The ledger: the only writer of balances.

A `Sheet` holds the balances of locked accounts, as whole smallest units, for the length of one transaction. Three
verbs move money between its two columns and its accounts: `reserve` (available → reserved), `release` (back), and
`post` (a journal of entries that sums to zero per asset). Nothing reaches the database before `statements()` is
executed, so a refusal leaves no trace.

Lock order of the whole system: an edited calendar's row, market rows by id, then account rows by id (`open_sheet` takes
these), then at most a second factor's row. Balances are written as deltas under those locks, and the database checks
once more that none gets below zero.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from django.db import connection, transaction

from accounts.entry_terms import EntryTerms, terms_of
from accounts.models import Account, Journal
from marketdata import bulk, clock, hub, units
from marketdata.models import Asset
from marketdata.refusals import Refusal


class InsufficientFunds(Refusal):
    """The account has less available than the request needs."""

    code, title = "insufficient_funds", "Insufficient funds"


class Unbalanced(AssertionError):
    """A journal that does not sum to zero: a bug, never a user's fault."""


@dataclass(slots=True)
class Purse:
    """One account's balance of one asset: now, and as it was when the sheet was opened."""

    available: int = 0
    reserved: int = 0
    available_before: int = 0
    reserved_before: int = 0
    exists: bool = False
    #: An entry needs a balance beside it, even one that ends where it began.
    has_entries: bool = False


@dataclass(slots=True)
class Holder:
    """A locked account: event sequence, may it place orders, are its events heard, terms of a competition entry."""

    event_sequence: int
    is_active: bool
    is_heard: bool
    terms: EntryTerms | None = None
    events: list[dict] = field(default_factory=list)
    told: str = ""  # the JSON text of the numbered events, as it is stored


@dataclass(slots=True)
class AssetScale:
    """An asset's symbol and smallest unit."""

    symbol: str
    decimals: int


class Sheet:
    """Balances of the locked accounts inside one transaction. Amounts are ints in the asset's smallest unit."""

    def __init__(self, holders: dict[int, Holder], scales: dict[int, AssetScale], moment: datetime):
        self.holders = holders
        self.scales = scales
        self.moment = moment
        self.purses: dict[tuple[int, int], Purse] = defaultdict(Purse)
        self.journals: list[tuple[str, int | None, str, int | None, list[tuple[int, int, int, int | None]]]] = []
        #: Of the posted journals, known once they are written.
        self.journal_ids: list[int] = []
        #: By which the outcome of this transaction can be looked up (pg_xact_status).
        self.transaction_id = ""
        self.holdings: list[tuple] = []  # rows that accounts.opening read with the accounts
        self.positions = None  # the accounts' open accounts.positions.Positions, where they were read

    # Reading

    def available(self, account: int, asset: int) -> int:
        return self.purses[account, asset].available

    # Moving

    def reserve(self, account: int, asset: int, amount: int) -> None:
        """Set funds aside; InsufficientFunds when there is not enough."""
        purse = self.purses[account, asset]
        if purse.available < amount:
            self.refuse(account, asset, amount)
        purse.available -= amount
        purse.reserved += amount

    def release(self, account: int, asset: int, amount: int) -> None:
        """Give reserved funds back."""
        purse = self.purses[account, asset]
        purse.reserved -= amount
        purse.available += amount
        assert purse.reserved >= 0, f"released more than account {account} has reserved of asset {asset}"

    def post(
        self,
        kind: str,
        entries: Iterable[tuple[int, int, int]],
        *,
        reference: int | None = None,
        reason: str = "",
        actor: int | None = None,
        outside: int | None = None,
    ) -> None:
        """A journal of (account, asset, amount) on available funds; zero amounts are left out.

        `outside` is the account of the outside world, which has no purse. Unbalanced when an asset does not sum to
        zero, InsufficientFunds when a purse would fall below zero.
        """
        rows, sums = [], defaultdict(int)
        for account, asset, amount in entries:
            if not amount:
                continue
            sums[asset] += amount
            if account == outside:
                rows.append((account, asset, amount, None))
                continue
            purse = self.purses[account, asset]
            if purse.available + amount < 0:
                self.refuse(account, asset, -amount)
            purse.available += amount
            purse.has_entries = True
            rows.append((account, asset, amount, purse.available + purse.reserved))
        if any(sums.values()):
            raise Unbalanced(f"{kind} {reference}: {dict(sums)}")
        if rows:
            self.journals.append((kind, reference, reason, actor, rows))

    def refer(self, references: Sequence[int]) -> None:
        """Replace each journal's reference, so far an index into these, by the id that is known now."""
        self.journals = [(kind, references[index], *rest) for kind, index, *rest in self.journals]

    def refuse(self, account: int, asset: int, amount: int) -> None:
        scale = self.scales[asset]
        have = units.text(self.purses[account, asset].available, scale.decimals)
        raise InsufficientFunds(f"Needs {units.text(amount, scale.decimals)} {scale.symbol}, available are {have}.")

    def emit(self, account: int, event: dict) -> None:
        """Queue an event for the account's owner; numbered and stored by `statements`."""
        holder = self.holders[account]
        if holder.is_heard:
            holder.events.append(event)

    # Writing

    def statements(self, journal_ids: Sequence[int]) -> list[bulk.Statement]:
        """What to execute to make it so: balances, journals, entries, events.

        `journal_ids`: one for each posted journal.
        """
        changed = {key: purse for key, purse in self.purses.items() if _moved(purse)}
        self._emit_balances(changed)
        return [*self._balances(changed), *self._entries(journal_ids), *self._movements(journal_ids), *self._events()]

    def _emit_balances(self, changed: dict[tuple[int, int], Purse]) -> None:
        for (account, asset), purse in changed.items():
            scale = self.scales[asset]
            self.emit(
                account,
                {
                    "type": "balance",
                    "asset": scale.symbol,
                    "available": units.text(purse.available, scale.decimals),
                    "reserved": units.text(purse.reserved, scale.decimals),
                    "total": units.text(purse.available + purse.reserved, scale.decimals),
                },
            )

    def _balances(self, changed: dict[tuple[int, int], Purse]) -> list[bulk.Statement]:
        if not changed:
            return []
        missing = [key for key, purse in changed.items() if not purse.exists]
        statements = []
        if missing:
            accounts, assets = zip(*missing, strict=True)
            zeros = [0] * len(missing)
            statements.append(
                bulk.insert(
                    "accounts_balance",
                    [
                        ("account_id", "bigint", accounts),
                        ("asset_id", "bigint", assets),
                        ("available", "numeric", zeros),
                        ("reserved", "numeric", zeros),
                    ],
                    "ON CONFLICT DO NOTHING",
                )
            )
        accounts, assets = zip(*changed, strict=True)
        rows = [(purse, self.scales[asset].decimals) for (_, asset), purse in changed.items()]
        statements.append(
            bulk.update(
                "accounts_balance",
                [("account_id", "bigint", accounts), ("asset_id", "bigint", assets)],
                [
                    ("available", "numeric", [units.text(p.available - p.available_before, d) for p, d in rows]),
                    ("reserved", "numeric", [units.text(p.reserved - p.reserved_before, d) for p, d in rows]),
                ],
                "available = t.available + d.available, reserved = t.reserved + d.reserved",
            )
        )
        return statements

    def _entries(self, journal_ids: Sequence[int]) -> list[bulk.Statement]:
        if not self.journals:
            return []
        kinds, references, reasons, actors, groups = zip(*self.journals, strict=True)
        moments = [clock.text(self.moment)] * len(self.journals)
        lines = [(journal, *row) for journal, rows in zip(journal_ids, groups, strict=True) for row in rows]
        journals, accounts, assets, amounts, balances = zip(*lines, strict=True)
        decimals = [self.scales[asset].decimals for asset in assets]
        return [
            bulk.insert(
                "accounts_journal",
                [
                    ("id", "bigint", journal_ids),
                    ("kind", "varchar", kinds),
                    ("reference", "bigint", references),
                    ("reason", "text", reasons),
                    ("actor_id", "bigint", actors),
                    ("created_at", "timestamptz", moments),
                ],
            ),
            bulk.insert(
                "accounts_entry",
                [
                    ("journal_id", "bigint", journals),
                    ("account_id", "bigint", accounts),
                    ("asset_id", "bigint", assets),
                    ("amount", "numeric", [units.text(a, d) for a, d in zip(amounts, decimals, strict=True)]),
                    (
                        "balance_after",
                        "numeric",
                        [None if b is None else units.text(b, d) for b, d in zip(balances, decimals, strict=True)],
                    ),
                ],
            ),
        ]

    def _movements(self, journal_ids: Sequence[int]) -> list[bulk.Statement]:
        """What came to and left users' accounts by anything but trades, once more where it is quickly found."""
        lines = [
            (account, asset, units.text(amount, self.scales[asset].decimals), journal)
            for journal, (kind, *_, rows) in zip(journal_ids, self.journals, strict=True)
            if kind not in Journal.PROFIT_AND_LOSS
            for account, asset, amount, _ in rows
            if account in self.holders and self.holders[account].is_heard
        ]
        if not lines:
            return []
        types = (("account_id", "bigint"), ("asset_id", "bigint"), ("amount", "numeric"), ("journal_id", "bigint"))
        columns = [(*named, values) for named, values in zip(types, zip(*lines, strict=True), strict=True)]
        return [bulk.insert("accounts_movement", columns)]

    def _events(self) -> list[bulk.Statement]:
        speaking = {account: holder for account, holder in self.holders.items() if holder.events}
        if not speaking:
            return []
        firsts, lasts, bodies = [], [], []
        for holder in speaking.values():
            firsts.append(holder.event_sequence + 1)
            for event in holder.events:
                holder.event_sequence += 1
                event["sequence"] = holder.event_sequence
            lasts.append(holder.event_sequence)
            holder.told = orjson.dumps(holder.events).decode()
            bodies.append(holder.told)
        accounts = list(speaking)
        return [
            bulk.insert(
                "accounts_accountevent",
                [
                    ("account_id", "bigint", accounts),
                    ("first_sequence", "bigint", firsts),
                    ("last_sequence", "bigint", lasts),
                    ("events", "json", bodies),
                    ("created_at", "timestamptz", [clock.text(self.moment)] * len(accounts)),
                ],
            ),
            bulk.update("accounts_account", [("id", "bigint", accounts)], [("event_sequence", "bigint", lasts)]),
        ]

    def published(self) -> dict[int, str]:
        """The JSON texts of the numbered events by account, to be pushed after the commit."""
        return {account: holder.told for account, holder in self.holders.items() if holder.told}


def _moved(purse: Purse) -> bool:
    if purse.available != purse.available_before or purse.reserved != purse.reserved_before:
        return True
    return purse.has_entries and not purse.exists


LOCK = "SELECT 1 FROM accounts_account WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE"
READ = """
SELECT a.id, a.event_sequence, a.is_active AND a.stopped_by = '' AND COALESCE(u.is_active, TRUE), a.user_id IS NOT NULL,
       b.asset_id, b.available, b.reserved, pg_current_xact_id()::text, a.opens_at, a.closes_at, a.market_ids
FROM accounts_account a
LEFT JOIN accounts_user u ON u.id = a.user_id
LEFT JOIN accounts_balance b ON b.account_id = a.id AND b.asset_id = ANY(%s::bigint[])
WHERE a.id = ANY(%s::bigint[])
"""


def open_sheet(cursor, account_ids: Collection[int], scales: dict[int, AssetScale], moment: datetime) -> Sheet:
    """Lock the accounts in id order, then read their balances of the assets in `scales`. Inside a transaction only."""
    ids = bulk.array(account_ids, "bigint")
    bulk.execute(cursor, [(LOCK, [ids]), (READ, [bulk.array(scales, "bigint"), ids])])
    return sheet_of(cursor.fetchall(), scales, moment)


def sheet_of(rows: Iterable[tuple], scales: dict[int, AssetScale], moment: datetime) -> Sheet:
    """The sheet of rows as READ gives them: one for each account and balance."""
    sheet = Sheet({}, scales, moment)
    for row in rows:
        account, sequence, is_active, is_heard, asset, available, reserved, transaction_id, *terms = row
        sheet.transaction_id = transaction_id
        if account not in sheet.holders:
            sheet.holders[account] = Holder(sequence, is_active, is_heard, terms_of(*terms))
        if asset is not None:
            decimals = scales[asset].decimals
            free, held = units.to_units(available, decimals), units.to_units(reserved, decimals)
            sheet.purses[account, asset] = Purse(free, held, free, held, True)
    return sheet


def take_ids(cursor, sequence: str, count: int) -> list[int]:
    """`count` fresh ids of a sequence, ascending."""
    if not count:
        return []
    cursor.execute("SELECT nextval(%s) FROM generate_series(1, %s)", [sequence, count])
    return [row[0] for row in cursor.fetchall()]


JOURNAL_IDS = "accounts_journal_id_seq"


@contextmanager
def working_sheet(account_ids: Collection[int], assets: Iterable[Asset]) -> Iterator[Sheet]:
    """Lock the accounts in the running transaction and give their sheet; written when the block ends without an error.

    What it did is pushed to the accounts' owners after the commit.
    """
    assert connection.in_atomic_block, "money moves inside a transaction, together with its reason"
    scales = {asset.id: AssetScale(asset.symbol, asset.decimals) for asset in assets}
    with connection.cursor() as cursor:
        sheet = open_sheet(cursor, account_ids, scales, clock.now())
        yield sheet
        sheet.journal_ids = take_ids(cursor, JOURNAL_IDS, len(sheet.journals))
        bulk.execute(cursor, sheet.statements(sheet.journal_ids))
    events = sheet.published()
    transaction.on_commit(lambda: hub.publish(books=[], accounts=events))


def post(
    *, kind: Journal.Kind, entries: Sequence[tuple[int, Asset, int]], reason: str = "", actor_id: int | None = None,
    outside: int | None = None, admit: Callable[[Sheet], None] = lambda _: None,
) -> int:  # fmt: skip
    """Post one journal of (account id, asset, amount in smallest units) in the running transaction; its id. `outside`
    is the account of the outside world where that takes part; `admit` may refuse before.

    InsufficientFunds when another account than that would fall below zero.
    """
    accounts = {account for account, _, _ in entries if account != outside}
    with working_sheet(accounts, {asset for _, asset, _ in entries}) as sheet:
        admit(sheet)
        rows = [(account, asset.id, amount) for account, asset, amount in entries]
        sheet.post(kind, rows, reason=reason, actor=actor_id, outside=outside)
    return sheet.journal_ids[0]


def outside_world() -> Account:
    """The account that stands for everything outside the venue: deposits come from it, withdrawals go to it."""
    account = Account.objects.filter(kind=Account.Kind.OUTSIDE).first()
    if account is None:
        with transaction.atomic():
            account, _ = Account.objects.get_or_create(kind=Account.Kind.OUTSIDE, defaults={"name": "Outside world"})
    return account


def fee_account(market_id: int) -> Account:
    """The house's account that collects a market's fees."""
    return Account.objects.get_or_create(kind=Account.Kind.FEES, market_id=market_id)[0]
