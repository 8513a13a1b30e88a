"""Whose orders live in a market: by account, so that one account's are found without looking through the book."""

from exchange.live import LiveOrder


class OpenOrders(dict[int, set[int]]):
    """The ids of the live orders of each account that has any; those that wait are among them."""

    __slots__ = ()

    def add(self, order: LiveOrder) -> None:
        """It lives now."""
        mine = self.get(order.account)
        if mine is None:
            self[order.account] = {order.id}
        else:
            mine.add(order.id)

    def drop(self, order: LiveOrder) -> None:
        """It has ended. KeyError when it did not live."""
        mine = self[order.account]
        mine.remove(order.id)
        if not mine:
            del self[order.account]

    def count(self, account: int) -> int:
        """How many the account has."""
        return len(self.get(account, ()))

    def of(self, account: int) -> list[int]:
        """The account's, oldest first."""
        return sorted(self.get(account, ()))
