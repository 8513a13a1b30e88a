"""The fuzzers in the suite's short form (see tests.fuzz.rest and tests.fuzz.frames), and what they look at."""

import logging

import pytest
from drf_spectacular.generators import SchemaGenerator

from benchmarks.server import PrivateVenue
from config.logs import PeersMistakes
from tests.fuzz import frames
from tests.fuzz.document import sharpened
from tests.fuzz.verdict import traces


def test_sockets_take_every_frame_well():
    with PrivateVenue(users=2, markets=2, margin=1) as venue:
        result = frames.fuzz(venue, cases=600, seed=7)
    assert result.problems == []
    assert result.cases >= 600
    assert {"pong", "error", "snapshot", "close 1002", "close 1007"} <= result.answers.keys()


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ("2026-01-05 09:30:00,000 WARNING axes.attempts locked out\n", 0),
        ("2026-01-05 09:30:00,000 ERROR django.request Internal Server Error: /api/v1/orders/\n", 1),
        ("fine\nTraceback (most recent call last):\n  File ...\nValueError: x\n", 1),
        ("Task exception was never retrieved\n", 1),
        ("", 0),
    ],
)
def test_a_log_tells_of_bugs(log, found):
    assert len(traces(log)) == found


def test_a_sharpened_document_changes_requests_alone():
    document = SchemaGenerator().get_schema(request=None, public=True)
    made = sharpened(document, {"price": ["1"], "symbol": ["M0_USD"]})
    before, after = document["components"]["schemas"], made["components"]["schemas"]
    order = after["OrderRequestRequest"]["properties"]
    assert order["price"] == {"anyOf": [{"enum": ["1"]}, before["OrderRequestRequest"]["properties"]["price"]]}
    assert order["side"] == before["OrderRequestRequest"]["properties"]["side"]
    assert {name for name in before if before[name] != after[name]} >= {"OrderRequestRequest", "BatchRequestRequest"}
    assert all(name.endswith("Request") for name in before if before[name] != after[name])
    (symbol,) = made["paths"]["/api/v1/markets/{symbol}/"]["get"]["parameters"][:1]
    assert symbol["schema"]["anyOf"] == [{"enum": ["M0_USD"]}, {"type": "string"}]


@pytest.mark.parametrize(("frame", "is_kept"), [(b"\xff", False), (b"ok", True)])
def test_text_that_is_not_utf8_leaves_no_trace_in_the_log(frame, is_kept):
    """uvicorn closes such a socket with 1007, and would write a trace for each."""
    try:
        frame.decode()
        raise KeyError(frame)
    except (UnicodeDecodeError, KeyError) as error:
        trace = (type(error), error, error.__traceback__)
    text = "Invalid UTF-8 sequence received from client."
    record = logging.LogRecord("uvicorn.error", logging.ERROR, __file__, 1, text, None, trace)
    assert PeersMistakes().filter(record) is is_kept
