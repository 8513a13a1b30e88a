"""Reading an account's events: every order, fill, balance and position event, numbered without a gap."""

from accounts.models import AccountEvent

#: Rows read at once; a row holds what one transaction did to the account.
ROWS = 200


def after(*, account_id: int, sequence: int, limit: int) -> tuple[list[dict], bool]:
    """Up to `limit` events with a higher sequence, in order, and whether there are more."""
    found: list[dict] = []
    while len(found) <= limit:
        last = found[-1]["sequence"] if found else sequence
        rows = AccountEvent.objects.filter(account_id=account_id, last_sequence__gt=last).order_by("last_sequence")
        batch = list(rows.values_list("events", flat=True)[:ROWS])
        found += [event for events in batch for event in events if event["sequence"] > last]
        if len(batch) < ROWS:
            break
    return found[:limit], len(found) > limit
