"""The resting reduce-only orders of a book, by account and id: what exchange.margin looks after as positions shrink."""

from exchange.live import LiveOrder


class Reducing(dict[int, dict[int, LiveOrder]]):
    """Empty for accounts without any, and in most markets altogether."""

    def note(self, order: LiveOrder) -> None:
        """An order that rests now."""
        if order.reduce_only:
            self.setdefault(order.account, {})[order.id] = order

    def drop(self, order: LiveOrder) -> None:
        """An order that has ended, resting or waiting."""
        if order.reduce_only and (mine := self.get(order.account)):
            mine.pop(order.id, None)
            if not mine:
                del self[order.account]
