"""What of a long history may go, when, and how it goes without anybody noticing.

| what | kept for | before it goes | afterwards |
|---|---|---|---|
| market journal | KEEP_JOURNAL_DAYS | replayed against the trades, its book kept | replay and audit begin there |
| account events | KEEP_EVENTS_DAYS, and each account's last | | older ones are answered `events_gone` |
| 1s candles | KEEP_SECOND_CANDLES_DAYS | | 1m, 1h and 1d candles stay for ever |
| imported candles | KEEP_EXTERNAL_CANDLES_DAYS (for ever) | | |
| first answers by Idempotency-Key | KEEP_IDEMPOTENCY_DAYS | | the key is new again |
| expired tokens and sessions, failed logins | KEEP_LOGINS_DAYS after they ended | | |

Orders, trades, fills, ledger journals and entries, movements, realizations, equity snapshots and what operators did
never go: they are what the venue owes an account of, and `client_order_id` is unique for all time.

Each part deletes in batches of BATCH_ROWS rows, each its own short transaction that takes no lock which trading takes,
and rests as long as the batch took, so that at most half of a disk is busy with it. A part that was interrupted goes on
where it stopped; a second run finds nothing to do. Room in the files is used again by what is written next; they do
not shrink (`VACUUM FULL` does that, with the market closed). One runs at a time, held by an advisory lock.
"""

from exchange.retention.parts import PARTS, Part

__all__ = ["LOCK", "PARTS", "Part"]

#: An advisory lock: the venue's one right to prune.
LOCK = 0x7072756E65
