"""application/problem+json (RFC 9457): the one place where an exception becomes an answer.

Every refusal of ours, every exception of DRF and Django goes through `problem_of`; whatever it does not know is a
bug: logged with its traceback under the request id, answered 500 without details.
"""

import logging
from dataclasses import dataclass, field
from http import HTTPStatus

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from psycopg2.errors import ReadOnlySqlTransaction
from rest_framework import exceptions

from marketdata.refusals import Refusal, Unavailable

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
AUTHENTICATE = 'Bearer realm="api"'
DRF_CODES = {
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "authentication_failed",
    exceptions.PermissionDenied: "permission_denied",
    exceptions.NotFound: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.ParseError: "malformed_json",
    exceptions.Throttled: "throttled",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that says no: HTTP status, body, headers besides the usual ones."""

    status: int
    body: dict
    headers: dict[str, str] = field(default_factory=dict)


def problem_of(error: Exception, request_id: str) -> Problem:
    """The answer for an exception. Logs it if it is a bug."""
    if isinstance(error, Refusal):
        return _refused(error, request_id)
    if isinstance(error, exceptions.ValidationError):
        return _invalid(error, request_id)
    if isinstance(error, Http404):
        error = (
            exceptions.NotFound(str(error) or None)
            if error.args and isinstance(error.args[0], str)
            else exceptions.NotFound()
        )
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, SuspiciousOperation):
        return problem(400, "bad_request", "The request cannot be served like that.", request_id)
    elif isinstance(error, OperationalError | InterfaceError) or isinstance(error.__cause__, ReadOnlySqlTransaction):
        # libpq has a line for each host or address that it tried, and below it advice, which is indented.
        reason = "; ".join(line for line in str(error).strip().splitlines() if not line.startswith("\t"))
        logger.warning("request %s: the database does not answer: %s", request_id, reason)
        return _refused(Unavailable("The database does not answer; try again."), request_id)
    if isinstance(error, exceptions.APIException):
        return _drf(error, request_id)
    logger.error("request %s failed", request_id, exc_info=error)
    return problem(500, "internal_error", f"Something broke here; it is logged as {request_id}.", request_id)


def problem(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    title: str = "",
    errors: list[dict] | None = None,
    headers=None,
) -> Problem:
    """A problem from its parts."""
    body = {
        "type": f"/api/docs/#{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": errors or [],
        "request_id": request_id,
    }
    headers = dict(headers or {})
    if status == 401:
        headers.setdefault("WWW-Authenticate", AUTHENTICATE)
    if status == 503:
        headers.setdefault("Retry-After", "1")
    return Problem(status, body, headers)


def _refused(error: Refusal, request_id: str) -> Problem:
    headers = {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}
    return problem(
        error.status, error.code, error.detail, request_id, title=error.title, errors=error.errors, headers=headers
    )


def _drf(error: exceptions.APIException, request_id: str) -> Problem:
    code = next((code for kind, code in DRF_CODES.items() if isinstance(error, kind)), error.default_code)
    headers = {}
    if isinstance(error, exceptions.Throttled) and error.wait:
        headers["Retry-After"] = str(int(error.wait))
    status = (
        401 if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed) else error.status_code
    )
    return problem(status, code, str(error.detail), request_id, headers=headers)


def _invalid(error: exceptions.ValidationError, request_id: str) -> Problem:
    errors = list(flatten(error.detail))
    first = errors[0] if errors else {"field": "", "detail": "Malformed request."}
    detail = f"{first['field']}: {first['detail']}" if first["field"] else first["detail"]
    return problem(400, "invalid", detail, request_id, title="Malformed request", errors=errors)


def flatten(detail, field: str = ""):
    """DRF's nested error details as a flat list of {field, code, detail}; nested fields are written a.0.b."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            own = field if name == "non_field_errors" else f"{field}.{name}" if field else str(name)
            yield from flatten(inner, own)
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            yield from flatten(inner, f"{field}.{index}" if isinstance(inner, dict | list) and field else field)
    else:
        yield {"field": field, "code": getattr(detail, "code", "invalid"), "detail": str(detail)}
