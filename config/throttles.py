"""The rate limit at the REST doors: counts a request once and leaves the count on it, from where the middleware makes
headers.
"""

from rest_framework.throttling import BaseThrottle

from marketdata.throttling import Charge, address_of_request, charge_request

UNCOUNTED = object()


def charge_of(request) -> Charge | None:
    """What was counted for a Django request, if anything."""
    found = getattr(request, "rate_charge", None)
    return None if found is UNCOUNTED else found


def charge_once(request, caller: object | None) -> Charge | None:
    """Count a Django request unless it was; Throttled when it is one too many."""
    if getattr(request, "rate_charge", None) is None:
        request.rate_charge = charge_request(caller, address_of_request(request)) or UNCOUNTED
        if request.rate_charge is not UNCOUNTED:
            request.rate_charge.check()
    return charge_of(request)


class VenueThrottle(BaseThrottle):
    """DRF's way in. Raises by itself, so that the answer is the same as the lean handler's."""

    def allow_request(self, request, view) -> bool:
        charge_once(request._request, None if request.auth is None else request.auth.limited_as)
        return True
