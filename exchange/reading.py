"""The committed books of this process, one view per market, for whoever reads.

The writer applies what it committed or caught up with; the hub applies what other processes committed. See
exchange.barrier for how a reader makes sure that a view is not older than the database.
"""

from collections.abc import Callable

from exchange.books import LiveBook
from exchange.depth import BookView, Delta
from exchange.registry import whole_book
from marketdata.markets import MarketSpec

#: The committed book of each market that this process has loaded.
views: dict[int, BookView] = {}
#: Told of each batch that this process has committed, by the writer: quick functions that never raise.
listeners: list[Callable[[Delta], None]] = []


def apply(delta: Delta, spec: MarketSpec | None = None) -> bool:
    """Take a committed change into the view. False when the view must be refreshed (see BookView.apply). `spec`: of
    the live book that the change comes from; a whole one may be the market's first.
    """
    view = views.get(delta.market_id)
    if view is None:
        if not delta.whole:
            return False
        view = views.setdefault(delta.market_id, BookView(spec))
    elif spec is not None and view.spec is not spec:
        view.change_filters(spec)
    return view.apply(delta)


def committed(delta: Delta) -> None:
    """A batch of this process's own: the view first, then whoever else keeps figures up."""
    apply(delta)
    for listener in listeners:
        listener(delta)


def ensure(live: LiveBook) -> None:
    """Make the view at least as new as a live book that holds nothing uncommitted: whole, if changes were missed."""
    view = views.get(live.spec.id)
    if view is None or view.sequence < live.sequence:
        apply(whole_book(live), live.spec)
    elif view.spec is not live.spec:
        view.change_filters(live.spec)


def forget() -> None:
    """Drop all views; they load again when asked for."""
    views.clear()
