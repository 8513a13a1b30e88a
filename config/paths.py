"""One form of every path: what the route table, the middleware and the lean handler all mean by "the same route".

A trailing slash is optional everywhere, and `/api/…` answers what `/api/v1/…` does; `/api/trading/…`, with `v1/` or
without, answers for what traders have. Nothing is ever redirected.
"""

API = "/api/"
VERSIONED = "/api/v1/"
OF_TRADING = frozenset({"orders", "portfolio", "wallet", "holdings"})
UNVERSIONED = frozenset({"schema", "docs"})


def canonical(path: str) -> str:
    """The path as the route table writes it: /api/orders/7 becomes /api/v1/orders/7/."""
    if not path.endswith("/") and not path.startswith("/static/"):
        path += "/"
    if not path.startswith(API):
        return path
    is_versioned = path.startswith(VERSIONED)
    rest = path[len(VERSIONED if is_versioned else API) :]
    first, _, below = rest.partition("/")
    if not is_versioned and (not first or first in UNVERSIONED):
        return path
    if first == "trading" and below.partition("/")[0] in OF_TRADING:
        rest = below
    return VERSIONED + rest


def is_api(path: str) -> bool:
    """Whether errors under this path are problem+json."""
    return path.startswith((API, "/health"))
