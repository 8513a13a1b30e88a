"""Reading an account's events: every order, fill, balance and position event, numbered without a gap."""

from accounts.models import AccountEvent
from marketdata.refusals import Refusal

#: Rows read at once; a row holds what one transaction did to the account.
ROWS = 200


class EventsGone(Refusal):
    """Events that were asked for are no longer kept."""

    code, status, title = "events_gone", 410, "Events are no longer kept"


def after(*, account_id: int, sequence: int, limit: int) -> tuple[list[dict], bool]:
    """Up to `limit` events with a higher sequence, in order, and whether there are more; EventsGone when the first of
    them is older than what is kept.
    """
    found: list[dict] = []
    while len(found) <= limit:
        last = found[-1]["sequence"] if found else sequence
        rows = AccountEvent.objects.filter(account_id=account_id, last_sequence__gt=last).order_by("last_sequence")
        batch = list(rows.values_list("events", flat=True)[:ROWS])
        fresh = [event for events in batch for event in events if event["sequence"] > last]
        if found and fresh and fresh[0]["sequence"] != last + 1:
            return found[:limit], True  # what lies between went meanwhile; who asks for it is told so
        found += fresh
        if len(batch) < ROWS:
            break
    if found and found[0]["sequence"] != sequence + 1:
        kept_after = found[0]["sequence"] - 1
        raise EventsGone(
            f"Events up to {kept_after} are no longer kept: read your open orders, balances and positions,"
            f" then ask for events after {kept_after}."
        )
    return found[:limit], len(found) > limit
