"""The outermost middleware: a request id, the one form of the path, the size limit, and the headers
about safety and rate limits.
"""

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse

from config.paths import VERSIONED, canonical, is_api
from config.problems import counted, response_of
from config.throttles import charge_of
from marketdata import tracing
from marketdata.api.problems import problem_of
from marketdata.refusals import Refusal

#: On every answer of the API: private, and no page.
API_HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
#: On pages: what a page of ours never does. Scripts are not restricted, the admin's need to be evaluated.
PAGE_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'; object-src 'none'; base-uri 'self'; form-action 'self'"
}


class BodyTooLarge(Refusal):
    """More bytes than any request of ours has."""

    code, status, title = "body_too_large", 413, "Body too large"

    def __init__(self):
        super().__init__(f"A body has at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes.")


class RequestMiddleware:
    """Works in threads and in the event loop, so that it costs no hop."""

    sync_capable = async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)
            self.is_async = True
        else:
            self.is_async = False

    def __call__(self, request):
        if self.is_async:
            return self._call_async(request)
        refusal = self._enter(request)
        return self._leave(request, refusal or self.get_response(request))

    async def _call_async(self, request):
        refusal = self._enter(request)
        return self._leave(request, refusal or await self.get_response(request))

    def process_exception(self, request, error):
        """Of pages, the operators' too; the API's doors answer by themselves."""
        if is_api(request.path_info) or not isinstance(error, OperationalError | InterfaceError):
            return None
        problem = problem_of(error, request.request_id)
        headers = {**problem.headers, "Content-Type": "text/plain; charset=utf-8"}
        return HttpResponse(f"{problem.body['detail']}\n", status=problem.status, headers=headers)

    def _enter(self, request):
        request.request_id = tracing.request_id_for(request.META.get("HTTP_X_REQUEST_ID"))
        tracing.request_id.set(request.request_id)
        request.path_info = canonical(request.path_info)
        if is_api(request.path_info) and _content_length(request) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return response_of(counted(request, BodyTooLarge()))
        return None

    def _leave(self, request, response):
        response["X-Request-ID"] = request.request_id
        for name, value in (API_HEADERS if request.path_info.startswith(VERSIONED) else PAGE_HEADERS).items():
            response.setdefault(name, value)
        charge = charge_of(request)
        if charge is not None:
            for name, value in charge.headers().items():
                response[name] = value
        return response


def _content_length(request) -> int:
    sent = request.META.get("CONTENT_LENGTH") or "0"
    return int(sent) if sent.isascii() and sent.isdigit() else 0
