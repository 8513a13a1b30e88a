"""Errors at the REST doors: DRF's exception handler, and Django's own error pages. See marketdata.api.problems for
what they say.
"""

from django.http import HttpResponse
from rest_framework.response import Response

from config import rendering
from config.throttles import charge_once
from marketdata.api.problems import CONTENT_TYPE, Problem, problem_of
from marketdata.throttling import Throttled


def exception_handler(error: Exception, context: dict) -> Response:
    """The answer to whatever a DRF view raised. Requests refused before they were counted are counted here, by
    address.
    """
    request = context["request"]._request
    problem = counted(request, error)
    response = Response(problem.body, status=problem.status, headers=problem.headers, content_type=CONTENT_TYPE)
    response.exception = True
    return response


def counted(request, error: Exception) -> Problem:
    """The problem of a Django request, which is counted first if it was not; one too many turns it into a 429."""
    try:
        charge_once(request, None)
    except Throttled as throttled:
        error = throttled
    return problem_of(error, request.request_id)


def response_of(problem: Problem) -> HttpResponse:
    """A problem as a plain Django response."""
    headers = {"Content-Type": CONTENT_TYPE, **problem.headers}
    return HttpResponse(rendering.render(problem.body), status=problem.status, headers=headers)
