"""The base of every refusal: what the venue says no to, with a stable code, never by a bare exception.

A refusal is the answer to a well-understood request. Bugs assert instead. Rooms above define their own subclasses
next to the rule that refuses; the doors turn any of them into application/problem+json without knowing which it is.
"""


class Refusal(Exception):
    """A named no. `code` is stable snake_case, `status` the HTTP status, `detail` says what to do."""

    code = "refused"
    status = 422
    title = "Refused"

    def __init__(self, detail: str = "", *, errors: list[dict] | None = None, retry_after_seconds: int | None = None):
        self.detail = detail or self.title
        self.errors = errors or []
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.detail)

    def __reduce__(self):
        # Subclasses are made in their own ways, so a refusal from another process is put together again by its parts.
        return _again, (type(self), self.args, vars(self))


def _again(kind: type[Refusal], args: tuple, state: dict) -> Refusal:
    refusal = kind.__new__(kind, *args)
    vars(refusal).update(state)
    return refusal


class Malformed(Refusal):
    """The request cannot be understood: wrong JSON, wrong type, unknown or missing field."""

    code, status, title = "invalid", 400, "Malformed request"


class NotFound(Refusal):
    """There is no such thing, or it is somebody else's."""

    code, status, title = "not_found", 404, "Not found"


class UnknownMarket(NotFound):
    """No active market answers to the symbol."""

    code, title = "unknown_market", "Unknown market"


class Unavailable(Refusal):
    """The venue cannot answer now, or does not know what became of the request."""

    code, status, title = "unavailable", 503, "Not available"

    def __init__(self, detail: str = ""):
        super().__init__(detail, retry_after_seconds=1)


class UnreadableMarket(Refusal):
    """A market's figures make no sense; an operator must mend them. Nothing was done."""

    code, status, title = "market_unreadable", 503, "The market's figures cannot be read"

    def __init__(self, detail: str = ""):
        super().__init__(detail, retry_after_seconds=60)
