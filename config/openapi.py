"""What drf-spectacular cannot see by itself: tokens, keys and accounts, problem+json, the shapes of our own fields."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.plumbing import build_basic_type
from drf_spectacular.types import OpenApiTypes

PROBLEMS = {
    "400": "The request is malformed (`invalid`; `errors` names the fields), or its body (`malformed_json`).",
    "401": (
        "No token (`not_authenticated`), an expired one (`token_expired`), one that is not valid (`token_invalid`), a "
        "wrong name or password (`invalid_credentials`), or the same of an API key: `api_key_invalid`, "
        "`signature_invalid`, `timestamp_out_of_window`."
    ),
    "403": (
        "Not yours to do: `permission_denied`, `ip_not_allowed`, `otp_required`, `otp_invalid`, `account_inactive`, "
        "`stopped_by_operator`, `faucet_closed`, `competition_money`, `demo_only`."
    ),
    "404": "There is no such thing, or it is somebody else's: `not_found`, `unknown_market`.",
    "409": (
        "In conflict with the state: `order_not_open`, `client_order_id_reused`, `idempotency_key_in_progress`, "
        "`withdrawal_decided`, `username_taken`, `totp_conflict`, `already_settled`, `not_deferred`, `cannot_settle`, "
        "`order_pending`, `order_not_amendable`, `position_closed`, `leverage_in_use`."
    ),
    "410": "Older than what the venue keeps: `events_gone`.",
    "413": "The body is larger than any request has to be: `body_too_large`.",
    "415": "The body is not application/json: `unsupported_media_type`.",
    "422": (
        "Well-formed, but the venue refuses: `insufficient_funds`, `price_out_of_band`, `bad_tick_size`, "
        "`bad_lot_size`, `below_min_notional`, `quantity_out_of_range`, `market_halted`, `market_closed`, "
        "`would_take`, `cannot_fill`, `expiry_in_past`, `no_session`, `auction_phase`, `auction_only`, "
        "`volatility_interruption`, `order_too_large`, `too_many_fills`, `order_ratio_exceeded`, "
        "`stop_would_trigger`, `bad_trail`, "
        "`bad_list_prices`, `replace_mismatch`, `no_market_price`, `stale_price`, `reduce_only`, "
        "`insufficient_margin`, `funds_in_orders`, `leverage_out_of_range`, `no_position`, `exits_undeliverable`, "
        "`no_liquidity`, `self_trade`, `too_many_open_orders`, `faucet_limit`, `idempotency_key_reused`, "
        "`competition_closed`, `too_many_api_keys`."
    ),
    "429": "Too many requests: `throttled`; see Retry-After.",
    "503": (
        "The venue is not accepting (`not_accepting`, `unavailable`), or does not know the outcome "
        "(`outcome_unknown`); see Retry-After and look up by client_order_id. "
        "`market_unreadable`: an operator must mend the figures of a market where you have a position."
    ),
}
ALWAYS = ("400", "404", "429", "503")
#: Of whoever may come with a token or a key: a key may be refused for its address even where nobody needs one.
OF_CALLERS = ("401", "403")
MOVING = (
    "/orders", "/wallet", "/api-keys", "/totp", "/competitions", "/kill-switch", "/settle", "/positions",
    "/margin/leverage", "/sim/",
)  # fmt: skip
#: What single routes answer besides: (part of the path, statuses).
ALSO = (
    ("/token/", ("401",)),
    ("/register/", ("409",)),
    ("/margin/check/", ("422",)),
    ("/events/", ("410",)),
)
#: Routes that are about one account, which X-Account may name.
OF_ACCOUNTS = (
    "/orders", "/wallet", "/ledger", "/holdings", "/portfolio", "/events", "/fills", "/api-keys/", "/kill-switch",
    "/positions", "/margin", "/sim/",
)  # fmt: skip
ACCOUNT = {
    "name": "X-Account",
    "in": "header",
    "required": False,
    "description": "Another of your own accounts, such as that of a competition entry; else your main one.",
    "schema": {"type": "integer", "minimum": 1},
}


class CallerScheme(OpenApiAuthenticationExtension):
    """Authorization: Bearer, or a signature by an API key."""

    target_class = "accounts.callers.CallerAuthentication"
    name = ["bearer", "apiKey"]

    def get_security_requirement(self, auto_schema):
        return [{"bearer": []}, {"apiKey": []}]

    def get_security_definition(self, auto_schema):
        bearer = {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token of POST token/.",
        }
        key = {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-KEY",
            "description": "Beside it X-API-TIMESTAMP and X-API-SIGN; see POST api-keys/ for what is signed.",
        }
        return [bearer, key]


class PlainDecimalField(OpenApiSerializerFieldExtension):
    """A decimal above zero as a string; a JSON number is taken too, from its raw text."""

    target_class = "marketdata.api.fields.PlainDecimal"
    match_subclasses = True

    def map_serializer_field(self, auto_schema, direction):
        return {"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?$", "examples": ["187.5"]}


class TextField(OpenApiSerializerFieldExtension):
    """Bounded text."""

    target_class = "marketdata.api.fields.Text"

    def map_serializer_field(self, auto_schema, direction):
        return {**build_basic_type(OpenApiTypes.STR), "minLength": 1, "maxLength": self.target.max_length}


def only_versioned_paths(endpoints):
    """Each route once, under /api/v1/."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]


def describe_problems(result, generator, request, public):
    """Every operation's errors, as application/problem+json, and the headers that every answer has."""
    components = result["components"]
    components["responses"] = {f"Problem{status}": _response(text) for status, text in PROBLEMS.items()}
    components["headers"] = _headers()
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            if any(part in path for part in OF_ACCOUNTS):
                operation.setdefault("parameters", []).append(ACCOUNT)
            for status in _statuses(path, method, "bearer" in str(operation.get("security"))):
                operation["responses"].setdefault(status, {"$ref": f"#/components/responses/Problem{status}"})
            for status, response in operation["responses"].items():
                if status.startswith("2"):
                    response["headers"] = {
                        name: {"$ref": f"#/components/headers/{name}"} for name in components["headers"]
                    }
    return result


def _statuses(path: str, method: str, takes_caller: bool) -> list[str]:
    statuses = {*ALWAYS, *(OF_CALLERS if takes_caller else ())}
    if method in ("post", "put", "patch"):
        statuses |= {"413", "415"}
    if method != "get" and any(part in path for part in MOVING):
        statuses |= {"409", "422"}
    return sorted(statuses.union(*(more for part, more in ALSO if part in path)))


def _response(text: str) -> dict:
    return {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemShape"}}},
    }


def _headers() -> dict:
    texts = {
        "X-Request-ID": "Yours if you sent one, else ours; named in logs and errors.",
        "RateLimit-Policy": 'The limit: `"default";q=12000;w=60` is 12000 requests in 60 seconds.',
        "RateLimit": 'What is left: `"default";r=11999;t=42` is 11999 requests, a new window in 42 seconds.',
    }
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}
