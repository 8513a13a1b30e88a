"""JSON, numbers and serializers: what is read, and that the fast way reads the same."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from exchange.api.serializers import AmendRequest, BatchRequest, OrderRequest
from exchange.api.tickers import TickersRequest
from marketdata import exact_json
from marketdata.api.acceptor import accept, acceptor, validated
from marketdata.exact_json import MalformedJSON, parse, render

#: (text, value)
READ = [
    ('{"a": 1.10}', {"a": Decimal("1.10")}),
    ('{"a": 0.1}', {"a": Decimal("0.1")}),
    ('{"a": 100000000000000000000000000001}', {"a": 100000000000000000000000000001}),
    ('{"a": 12345678901234567890.123456789012345678}', {"a": Decimal("12345678901234567890.123456789012345678")}),
    ('{"a": 1e2}', {"a": Decimal("1E+2")}),
    ('{"a": "\\u00e9\\ud83d\\ude00"}', {"a": "é😀"}),
    ('{"a": "quote \\" and comma, {"}', {"a": 'quote " and comma, {'}),
    ('{"a": null, "b": true, "c": "d"}', {"a": None, "b": True, "c": "d"}),
    ('[{"a": [1, "b"]}]', [{"a": [1, "b"]}]),
    ('""', ""),
]
REFUSED = [
    "", "{", "nul", "{'a': 1}", '{"a": 1,}', '{"a": 01}', '{"a": .5}', '{"a": +1}', '{"a": NaN}', '{"a": -Infinity}',
    '{"a": 1, "a": 1}',
    '{"a": {"b": 1, "b": 2}}', '{"a": "\\ud800"}', '{"\\udfff": 1}', '{"a": "\\u0000"}', '["\\u0000"]', '{"a": "\n"}',
    '{"a": 1} 2',
    '\ufeff{"a": 1}', "[" * 100_000, '{"a": 1e999999999999999999999}', '{"a": 1' + "0" * 5000 + "}",
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), READ)
def test_read(text, value):
    found = parse(text.encode())
    assert found == value and repr(found) == repr(value)


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_refused(text):
    with pytest.raises(MalformedJSON):
        parse(text.encode())


def test_other_encodings_are_refused():
    for encoding in ("utf-16", "utf-32", "latin1"):
        with pytest.raises(MalformedJSON):
            parse('{"a": "é"}'.encode(encoding))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@given(JSON, st.booleans())
def test_the_fast_parser_is_the_slow_one(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    fast = exact_json._parse_flat(text)
    if fast is not None:
        assert repr(fast) == repr(exact_json._parse_whole(text))


@given(st.text(alphabet='{}":,a1.\\" tn', max_size=24))
def test_the_fast_parser_takes_nothing_that_the_slow_one_refuses(text):
    fast = exact_json._parse_flat(text.encode())
    if fast is not None:
        assert repr(fast) == repr(exact_json._parse_whole(text.encode()))


def test_decimals_leave_as_plain_strings():
    assert render({"a": Decimal("1.50"), "b": Decimal("1E+3"), "c": Decimal("-0")}) == b'{"a":"1.5","b":"1000","c":"0"}'


NUMBERS = st.one_of(
    st.integers(-10, 10**40),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.decimals(min_value=0, max_value=10**6, places=4).map(str),
    st.sampled_from(["1e5", "1E-2", ".5", "5.", "+1", "-1", "0", "", " 1", "1_0", "٣", "NaN", "inf"]),
    st.sampled_from(["1" * 70, "1e41", "0x1"]),
    st.none(), st.booleans(), st.text(max_size=3),
)  # fmt: skip
WORDS = st.sampled_from(
    ["BUY", "sell", "Limit", "MARKET", "gtc", "IOC", "fok", "expire_maker", "nonsense", "", 1, None, True, [], {}]
)
TEXTS = st.text(max_size=70) | st.sampled_from(["AAPL", "BTC_USDT", " AAPL", "a\x00b", None, 5])
FIELDS = {
    "symbol": TEXTS, "side": WORDS, "type": WORDS, "price": NUMBERS, "quantity": NUMBERS, "quote_quantity": NUMBERS,
    "stop_price": NUMBERS,
    "time_in_force": WORDS, "post_only": st.booleans() | WORDS, "self_trade_prevention": WORDS,
    "client_order_id": TEXTS, "typo": WORDS,
}  # fmt: skip
GOOD = {
    "symbol": st.just("AAPL"),
    "side": st.sampled_from(["BUY", "sell"]),
    "price": st.sampled_from(["1", 2, Decimal("0.5")]),
}
BODIES = st.one_of(
    st.fixed_dictionaries(GOOD, optional={name: FIELDS[name] for name in FIELDS if name not in GOOD}),
    st.fixed_dictionaries({}, optional=FIELDS),
    st.none() | st.lists(WORDS, max_size=2) | TEXTS,
)


def outcome(function, serializer, body):
    try:
        return repr(sorted(function(serializer, body).items()))
    except ValidationError as error:
        return repr(error.detail)


@pytest.mark.parametrize("serializer", [OrderRequest, AmendRequest])
@settings(max_examples=400, deadline=None)
@given(body=BODIES)
def test_the_acceptor_says_what_the_serializer_says(serializer, body):
    assert outcome(accept, serializer, body) == outcome(validated, serializer, body)


def test_the_acceptor_takes_ordinary_orders_by_itself():
    fast = acceptor(OrderRequest)
    assert fast({"symbol": "AAPL", "side": "buy", "price": "1.5", "quantity": 3})["side"] == "BUY"
    assert fast({"symbol": "AAPL", "side": "buy", "price": "x"}) is None
    assert acceptor(BatchRequest)({"orders": [{}, 5]}) == {"orders": [{}, 5]}
    assert acceptor(TickersRequest) is None
