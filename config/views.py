"""Pages and errors that belong to no room: the landing page, health, and what Django answers when nothing else does."""

import secrets
from datetime import datetime

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views import defaults
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.permissions import AllowAny
from rest_framework.views import APIView

from accounts import lockout
from config import readiness
from config.paths import is_api
from config.problems import counted, response_of
from exchange import audit
from marketdata import metrics
from marketdata.api.problems import problem
from marketdata.markets import CACHE_SECONDS
from marketdata.models import Market


def landing(request):
    """GET /: where a newcomer goes from here."""
    symbols = list(Market.objects.filter(is_active=True).order_by("symbol").values_list("symbol", flat=True)[:8])
    page = {"address": request.build_absolute_uri("/").rstrip("/"), "symbols": symbols, "faucet": settings.FAUCET}
    response = render(request, "landing.html", page)
    response["Cache-Control"] = f"max-age={int(CACHE_SECONDS)}"
    return response


def health(request):
    """GET /health: this process answers."""
    return JsonResponse({"status": "ok"})


def ready(request):
    """GET /health/ready: the venue could take an order now. 200, or 503 with what keeps it from that (see
    config.readiness).
    """
    is_ready, checks = readiness.checked()
    response = JsonResponse(
        {"status": "ok" if is_ready else "unavailable", "checks": checks}, status=200 if is_ready else 503
    )
    if not is_ready:
        response["Retry-After"] = "1"
    return response


def metrics_page(request):
    """GET /metrics for Prometheus: to whoever shows METRICS_TOKEN as a bearer token; without one, to this machine only.

    Behind a proxy every request comes from this machine, so there the token is needed.
    """
    if settings.METRICS_TOKEN:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        is_allowed = secrets.compare_digest(shown.encode(), settings.METRICS_TOKEN.encode())
    else:
        is_allowed = request.META.get("REMOTE_ADDR") in ("127.0.0.1", "::1") and not settings.TRUSTED_PROXIES
    if not is_allowed:
        return HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=403, content_type="text/plain")
    if (report := audit.last()) is not None:
        metrics.AUDIT_SECONDS.set(datetime.fromisoformat(report["taken_at"]).timestamp())
        metrics.AUDIT_VIOLATIONS.set(report["violations"])
    return HttpResponse(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")


@extend_schema(exclude=True)
class UnknownRoute(APIView):
    """Every path of the API that is not a route: 404, counted like any request."""

    permission_classes = [AllowAny]

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        raise NotFound("There is no such route; see /api/docs/.")


def locked_out(request, response=None, credentials=None):
    """What django-axes answers once somebody guessed too often. The API says so by itself, see accounts.lockout."""
    if is_api(request.path_info):
        return response
    wait = lockout.seconds_left(request, (credentials or {}).get("username", ""))
    text = f"Too many failed logins; try again in {wait} seconds.\n"
    return HttpResponse(text, status=429, headers={"Retry-After": str(wait)}, content_type="text/plain; charset=utf-8")


def not_found(request, exception=None):
    """Django's 404."""
    return (
        response_of(counted(request, NotFound()))
        if is_api(request.path_info)
        else defaults.page_not_found(request, exception)
    )


def forbidden(request, exception=None):
    """Django's 403."""
    if is_api(request.path_info):
        return response_of(counted(request, PermissionDenied()))
    return defaults.permission_denied(request, exception)


def bad_request(request, exception=None):
    """Django's 400: a host that is not ours, too many parameters and the like."""
    if is_api(request.path_info):
        return response_of(problem(400, "bad_request", "The request cannot be served like that.", request.request_id))
    return defaults.bad_request(request, exception)


def broken(request):
    """Django's 500; the traceback is logged by Django."""
    if not is_api(request.path_info):
        return defaults.server_error(request)
    request_id = getattr(request, "request_id", "")
    return response_of(
        problem(500, "internal_error", f"Something broke here; it is logged as {request_id}.", request_id)
    )


def favicon(request):
    """A browser asks for it; there is none."""
    return HttpResponse(status=204)
