"""Files in, bars and a report out."""

import gzip
import io
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from marketdata import datasets, external, importing, markets
from marketdata.importing import Inspection, Unreadable
from marketdata.models import ExternalCandle, PriceSource
from marketdata.providers.protocol import Bar
from tests.providers.clocks import START

DAY = datetime(2026, 8, 5, tzinfo=UTC)
GOOD = """date,open,high,low,close,volume
2026-08-03,10,12,9,11,100
2026-08-04,11,13,10,12,200
2026-08-05,12,14,11,13,300
"""
DIRTY = """Date,Open,High,Low,Close,Volume
2026-08-05,12,14,11,13,300
2026-08-03,10,12,9,11,100
2026-08-03,10,12,9,11,100
2026-08-04,11,10,13,12,200
2026-07-31,0,12,9,11,100
2026-07-30,10,12,9,-11,100
2026-07-29,10,12,9,11,-1
2026-07-28,10,12,9,13,1
2026-07-27,10,12,nan,11,100
2026-07-24,ten,12,9,11,100
2026-07-23,,12,9,11,100
some day,10,12,9,11,100
2126-01-01,10,12,9,11,100
2026-07-20,1e30,1e30,9,11,100
2026-07-19,10
"""


def read(text: str, **terms) -> list[Bar | str]:
    return list(importing.bars(iter(io.StringIO(text)), **terms))


@pytest.mark.parametrize(
    "text",
    [
        "date,open,high,low,close,volume\n2026-08-05,1.5,2,1,1.25,7",
        "Close;Volume;Open;High;Low;Date\n1.25;7;1.5;2;1;2026-08-05T00:00:00Z",
        "Open time\tOpen\tHigh\tLow\tClose\tVolume\n1785888000000\t1.5\t2\t1\t1.25\t7",
        "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<TICKVOL>\n2026.08.05,00:00,1.5,2,1,1.25,7",
        "Gmt time,Open,High,Low,Close,Volume\n05.08.2026 00:00:00.000,1.5,2,1,1.25,7",
        "1785888000,1.5,2,1,1.25,7",
        "1785888000000,1.5,2,1,1.25,7,1785888059999,8.75,3",
        "datetime,open,high,low,close,volume\n2026-08-04 20:00:00-04:00,1.5,2,1,1.25,7.0000000000001",
        "\ufeffdate|o|h|l|c|v\n20260805|1.5|2|1|1.25|7".replace("\ufeff", ""),
    ],
)
def test_dialects(text):
    [bar] = read(text)
    assert bar == Bar(DAY, Decimal("1.5"), Decimal(2), Decimal(1), Decimal("1.25"), Decimal(7))


def test_closes_only_and_a_zone():
    [bar] = read("timestamp,price\n2026-08-05 02:00,1.23456789012", zone=ZoneInfo("Europe/Berlin"), decimals=5)
    assert bar == Bar(DAY, *[Decimal("1.23457")] * 4)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("202401011230", "2024-01-01 12:30"),
        ("20240101", "2024-01-01 00:00"),
        ("1704112200", "2024-01-01 12:30"),
        ("1704112200.25", "2024-01-01 12:30:00.250000"),
        ("1704112200.", "2024-01-01 12:30"),
        ("1704112200000", "2024-01-01 12:30"),
        *((text, None) for text in ("202413011230", "202401011230.5", "20241301", "20240101123200")),
        *((text, None) for text in ("1700000000.5.5", "1700000000.5e9", "1700000000.5e999999", "1700000000.x")),
    ],
)
def test_times_in_digits(text, time):
    assert importing.time_of(text) == (time and datetime.fromisoformat(time).replace(tzinfo=UTC))


def test_a_malformed_time_is_dropped_and_counted():
    inspection = Inspection()
    rows = read("time,close\n1700000000.5.5,1\n1700000060,2\n")
    assert len(list(inspection.sound(rows, now=START))) == 1
    assert inspection.dropped == {"unreadable time": 1}


OPEN_QUOTE = 'time,close\n2026-08-05,1\n2026-08-06,"2\n2026-08-07,3\n2026-08-08,4\n'


@pytest.mark.parametrize("text", ["", "a,b,c\n1,2,3", "date,open\n2026-08-05,1", "<html>\n", OPEN_QUOTE])
def test_what_is_no_table(text):
    with pytest.raises(Unreadable):
        read(text)


def test_every_bad_row_is_dropped_for_its_reason():
    inspection = Inspection()
    bars = list(inspection.sound(read(DIRTY), now=START))
    assert [bar.open_time for bar in bars] == [DAY, DAY - timedelta(days=2)]
    assert inspection.dropped == {
        "duplicate": 1,
        "high below low": 1,
        "price not positive": 2,
        "negative volume": 1,
        "open or close outside of high and low": 1,
        "not a number": 1,
        "unreadable number": 2,
        "missing price": 1,
        "unreadable time": 1,
        "in the future": 1,
        "too large": 1,
    }
    assert (inspection.read, inspection.kept, inspection.out_of_order) == (15, 2, 1)
    assert inspection.gaps("1d") == (1, timedelta(days=2))


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz", "bars.zip"])
def test_plain_and_packed_files(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(GOOD.encode()))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inside/bars.csv", GOOD)
    else:
        path.write_text("\ufeff" + GOOD)
    with importing.open_lines(path) as (lines, progress):
        assert len(list(importing.bars(lines))) == 3
        # A zip ends with its table of contents, which is read first.
        assert (0.5 if name.endswith("zip") else 1.0) <= progress() <= 1.0


@pytest.mark.parametrize("content", [b"\xff\xfe\x00date", b"PK nonsense"])
def test_broken_files(tmp_path, content):
    for name in ("x.csv", "x.gz", "x.zip"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(Unreadable), importing.open_lines(path) as (lines, _):
            list(importing.bars(lines))
    with pytest.raises(Unreadable), importing.open_lines(tmp_path / "missing.csv"):
        pass


def damaged(name: str) -> bytes:
    """A file that looks like an archive until it is unpacked."""
    if name == "damaged.gz":
        packed = bytearray(gzip.compress(GOOD.encode()))
        packed[12:20] = bytes(8)
        return bytes(packed)
    content = io.BytesIO()
    method = {"damaged.zip": zipfile.ZIP_DEFLATED, "damaged lzma.zip": zipfile.ZIP_LZMA}.get(name, zipfile.ZIP_STORED)
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr("bars.csv", GOOD * 50)
    packed = bytearray(content.getvalue())
    directory = packed.rindex(b"PK\x01\x02")
    if name == "encrypted.zip":
        packed[6] |= 1
        packed[directory + 8] |= 1
    elif name == "unknown method.zip":
        packed[8] = packed[directory + 10] = 99
    else:
        packed[55:75] = b"\xff" * 20
    return bytes(packed)


@pytest.mark.parametrize(
    "name", ["damaged.gz", "damaged.zip", "damaged lzma.zip", "encrypted.zip", "unknown method.zip"]
)
def test_broken_archives(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(damaged(name))
    with pytest.raises(Unreadable, match=f"cannot read .*{name}"), importing.open_lines(path) as (lines, _):
        list(importing.bars(lines))


def test_a_header_that_is_too_long():
    with pytest.raises(Unreadable, match="not CSV"):
        read(f"time,close,{'x' * 140_000}\n2026-08-05,1\n")


# The command


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("import_candles", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(GOOD)
    return path


def test_import_twice_changes_nothing(venue, file):
    assert "3 new, 0 changed, 0 as before" in run(str(file), "--market", "AAPL")
    before = list(ExternalCandle.objects.order_by("id").values())
    assert "0 new, 0 changed, 3 as before" in run(str(file), "--market", "aaplusd")
    assert list(ExternalCandle.objects.order_by("id").values()) == before
    file.write_text(GOOD.replace("11,13,300", "10.5,13,300"))
    assert "0 new, 1 changed, 2 as before" in run(str(file), "--market", "AAPL")


def test_the_stored_bars_are_read_back(venue, file):
    run(str(file), "--market", "AAPL", "--source", "mine")
    spec = markets.by_symbol("AAPL")
    everything = external.candles(spec, "1d", None, None, 10, source="mine")
    assert everything[-1] == {
        "open_time": "2026-08-05T00:00:00.000000Z",
        "open": "12",
        "high": "14",
        "low": "11",
        "close": "13",
        "volume": "300",
        "quote_volume": None,
        "trades": None,
        "source": "mine",
    }
    assert external.candles(spec, "1d", None, None, 2, source="mine") == everything[1:]
    assert external.candles(spec, "1d", DAY - timedelta(days=2), None, 2, source="mine") == everything[:2]
    yesterday = DAY - timedelta(days=1)
    assert external.candles(spec, "1d", yesterday, yesterday, 5, source="mine") == everything[1:2]
    assert external.candles(spec, "1h", None, None, 5, source="mine") == []
    assert external.candles(spec, "1d", None, None, 5, source="other") == []


def test_a_dry_run_stores_nothing_and_reports(venue, tmp_path):
    path = tmp_path / "dirty.csv"
    path.write_text(DIRTY)
    report = run(str(path), "--market", "AAPL", "--dry-run", "--interval", "1d")
    assert "nothing stored" in report
    assert "dropped: high below low" in report
    assert not ExternalCandle.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.csv", "--market", "AAPL"], "cannot read"),
        (["FILE", "--market", "NOPE"], "no market 'NOPE'"),
        (["FILE", "--market", "AAPL", "--timezone", "Mars/Base"], "no time zone"),
        (["TWELVE_DATA", "--market", "AAPL", "--symbol", "AAPL"], "TWELVE_DATA_API_KEY is not set"),
        (["SYNTHETIC", "--market", "AAPL"], "--symbol is needed"),
        (["SYNTHETIC", "--market", "AAPL", "--symbol", "A", "--start", "soon"], "is not a time"),
        (["SYNTHETIC", "--market", "AAPL", "--symbol", "A", "--start", "1700000000.5.5"], "is not a time"),
        (["FILE", "--market", "AAPL", "--decimals", "100"], "--decimals must be from 0 to"),
        (["FILE", "--market", "AAPL", "--decimals", "-1"], "--decimals must be from 0 to"),
    ],
)
def test_what_cannot_be_imported_says_why(venue, file, settings, arguments, text):
    settings.TWELVE_DATA_API_KEY = ""
    with pytest.raises(CommandError, match=text):
        run(*[str(file) if argument == "FILE" else argument for argument in arguments])


def test_rows_without_an_interval_are_told_with_what_is_wrong_with_them(venue, tmp_path):
    path = tmp_path / "german.csv"
    path.write_text("date;close\n05.08.2026;1,5\n06.08.2026;1,6\n")
    with pytest.raises(CommandError, match="0 good rows of 2, 2 dropped: unreadable number.*--interval"):
        run(str(path), "--market", "AAPL")


def test_no_decimals_means_whole_prices(venue, tmp_path):
    path = tmp_path / "fine.csv"
    path.write_text("date,close\n2026-08-04,11.4\n2026-08-05,12.6\n")
    run(str(path), "--market", "AAPL", "--decimals", "0")
    stored = external.candles(markets.by_symbol("AAPL"), "1d", None, None, 9, source="fine")
    assert [bar["close"] for bar in stored] == ["11", "13"]


@pytest.mark.parametrize(("decimals", "close"), [("0", "11"), ("2", "11.43")])
def test_a_volume_has_the_base_assets_decimals_whatever_the_prices_have(venue, tmp_path, decimals, close):
    path = tmp_path / "fine.csv"
    path.write_text("date,close,volume\n2026-08-04,11.432,0.25\n2026-08-05,11.432,7.123456789\n")
    run(str(path), "--market", "AAPL", "--decimals", decimals)
    stored = external.candles(markets.by_symbol("AAPL"), "1d", None, None, 9, source="fine")
    assert [(bar["close"], bar["volume"]) for bar in stored] == [(close, "0.25"), (close, "7.12345679")]


def test_an_import_that_breaks_off_leaves_nothing(venue, tmp_path):
    path = tmp_path / "broken.csv.gz"
    rows = "".join(f"{1_700_000_000 + 60 * n},1,1,1,1,1\n" for n in range(20_000))
    packed = gzip.compress(rows.encode())
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(CommandError, match="cannot read"):
        run(str(path), "--market", "AAPL")
    assert not ExternalCandle.objects.exists()


def test_history_of_a_provider(venue):
    market = markets.by_symbol("AAPL")
    PriceSource.objects.create(market_id=market.id, provider_symbol="AAPL@187.5")
    arguments = ("SYNTHETIC", "--market", "AAPL", "--interval", "1h", "--start", "2026-08-01", "--limit", "100")
    assert "100 new" in run(*arguments)
    assert "0 new, 0 changed, 100 as before" in run(*arguments)
    assert len(external.candles(market, "1h", None, None, 9, source="SYNTHETIC")) == 9


def test_the_ecbs_real_rates(venue):
    venue.assets["EUR"] = type(venue.assets["USD"]).objects.create(symbol="EUR", name="Euro", kind="FIAT", decimals=8)
    venue.market("EUR_USD", base="EUR", quote="USD", tick_size=Decimal("0.0001"))
    assert "0 changed" in run(datasets.ECB, "--market", "EUR_USD")
    begin = datetime(1999, 1, 4, tzinfo=UTC)
    bars = external.candles(markets.by_symbol("EUR_USD"), "1d", begin, None, 10_000, source="ECB")
    assert len(bars) > 7_000
    assert (bars[0]["close"], bars[0]["source"]) == ("1.1789", "ECB")
    with pytest.raises(CommandError, match="has no rate of AAPL"):
        run(datasets.ECB, "--market", "AAPL")


def test_cross_rates():
    table = iter(io.StringIO("Date,USD,JPY,BGN,\n2026-08-05,1.25,150,N/A,\n"))
    assert [bar.close for bar in datasets.cross_rates(table, base="USD", quote="JPY")] == [120]
    table = iter(io.StringIO("Date,USD,JPY,BGN,\n2026-08-05,1.25,150,N/A,\n"))
    assert list(datasets.cross_rates(table, base="EUR", quote="BGN")) == ["missing price"]


def test_a_package_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(datasets.DATASETS, "other", datasets.Dataset("no-such-package", "x.csv", "x", "1d", 8, "x"))
    with pytest.raises(Unreadable, match="requirements-demo.txt"):
        datasets.DATASETS["other"].file()
