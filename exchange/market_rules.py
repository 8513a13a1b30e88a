"""What a market may not become because of the orders that wait in it: Market.clean asks this rule."""

from django.db import transaction

from exchange.models import Order
from marketdata.models import Market


def connect() -> None:
    """Have markets ask; called once, when the app is ready."""
    Market.RULES_ABOVE.append(trigger_errors)


@transaction.atomic
def trigger_errors(market: Market) -> dict[str, str]:
    """Another price that triggers, while orders wait for the present one. The market's journal does not tell what went
    by which: a book that does it again takes what the market goes by now, which is right for all that have ended.
    """
    # The matcher waits for the row: until the transaction of whoever saves ends, no order comes to wait here.
    changed = Market.objects.select_for_update(no_key=True).filter(pk=market.pk).exclude(trigger_by=market.trigger_by)
    before = changed.values_list("trigger_by", flat=True).first()
    if before is None:
        return {}
    count = Order.objects.filter(market=market.pk, status=Order.Status.PENDING).count()
    text = (
        f"{count} orders wait here for the {Market.Trigger(before).label.lower()} or for their entry. Make the market"
        " cancel-only, and change this once they have ended."
    )
    return {"trigger_by": text} if count else {}
