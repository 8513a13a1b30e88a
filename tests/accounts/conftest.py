"""The two funded traders of the API's tests, with a client."""

from tests.api.conftest import api

__all__ = ["api"]
