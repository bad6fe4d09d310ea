"""Recordings: every sound row of the files, nothing else, and clear words for what is broken."""

import csv
import gzip
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.model import MINUTE, NANOS, AssetClass, nanos, utc
from engine.feeds.recordings import SAMPLES, RecordingError, Recordings
from engine.ops.errors import UserError

Write = Callable[[str, Sequence[str]], Path]

BARS = "timestamp,open,high,low,close,volume"
QUOTES = (
    "timestamp,bid_open,bid_high,bid_low,bid_close,bid_size,"
    "ask_open,ask_high,ask_low,ask_close,ask_size"
)
BAR = "2018-04-04T00:00:00Z,10,12,9,11,100"
SYMBOLS = ("AAPL", "BTC-PERP", "BTC-USD", "ETH-USD", "SPY")
QUOTED = ("AAPL", "BTC-USD", "ETH-USD", "SPY")

# BTC-PERP: the source drew a straight line over these minutes.
INTERPOLATED = {
    f"2022-01-{day}T03:{minute:02d}:00Z" for day in ("01", "13") for minute in range(3, 10)
}


@pytest.fixture(scope="module")
def samples() -> Recordings:
    return Recordings()


def rows_of(symbol: str, kind: str) -> list[dict[str, str]]:
    """The rows of a sample, read without the code under test."""
    (path,) = SAMPLES.glob(f"{symbol}-2*-{kind}-1m.csv.gz")
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


def start_of(row: dict[str, str]) -> int:
    return nanos(datetime.fromisoformat(row["timestamp"]))


def at(text: str) -> int:
    return nanos(datetime.fromisoformat(text + "Z"))


# --- the samples ---------------------------------------------------------------------------------


def test_the_samples_are_these(samples: Recordings) -> None:
    assert samples.symbols == SYMBOLS
    assert [samples.refused(symbol) for symbol in SYMBOLS] == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("symbol", ["AAPL", "BTC-USD", "ETH-USD", "SPY"])
def test_every_row_of_bars_is_there_and_known_at_its_close(
    samples: Recordings, symbol: str
) -> None:
    rows = rows_of(symbol, "bars")
    expected = [
        (
            start_of(row) + MINUTE,
            *(float(row[name]) for name in ("open", "high", "low", "close", "volume")),
        )
        for row in rows
    ]
    bars = samples.bars(symbol)
    assert [(b.ts, b.open, b.high, b.low, b.close, b.volume) for b in bars] == expected
    assert {(b.symbol, b.interval, b.ts - b.start) for b in bars} == {(symbol, MINUTE, MINUTE)}


def test_volume_in_dollars_becomes_units_of_the_symbol(samples: Recordings) -> None:
    rows = rows_of("BTC-PERP", "bars")
    bars = samples.bars("BTC-PERP")
    assert [b.close for b in bars] == [float(row["close"]) for row in rows]
    assert [b.volume for b in bars] == [float(row["volume"]) / float(row["close"]) for row in rows]


@pytest.mark.parametrize("symbol", QUOTED)
def test_a_row_of_quotes_gives_its_opening_and_its_closing_where_that_differs(
    samples: Recordings, symbol: str
) -> None:
    expected: list[tuple[int, int, float, float, float, float]] = []
    for row in rows_of(symbol, "quotes"):
        value = {name: float(cell) for name, cell in row.items() if name != "timestamp"}
        start, sizes = start_of(row), (value["bid_size"], value["ask_size"])
        expected.append((start, 1, value["bid_open"], value["ask_open"], *sizes))
        if (row["bid_open"], row["ask_open"]) != (row["bid_close"], row["ask_close"]):
            expected.append((start + MINUTE, 0, value["bid_close"], value["ask_close"], *sizes))
    # A closing quote comes before the opening one of the next minute.
    expected.sort()
    quotes = samples.quotes(symbol)
    assert [(q.ts, q.bid, q.ask, q.bid_size, q.ask_size) for q in quotes] == [
        (ts, *rest) for ts, _, *rest in expected
    ]


def test_real_gaps_stay_gaps(samples: Recordings) -> None:
    bars = samples.bars("BTC-USD")
    gaps = {
        utc(before.ts).isoformat(): (after.start - before.ts) // MINUTE
        for before, after in pairwise(bars)
        if after.start != before.ts
    }
    assert gaps == {"2018-04-04T16:46:00+00:00": 1, "2018-04-04T16:48:00+00:00": 432}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_recorded_prices_are_on_the_tick_of_their_instrument(
    samples: Recordings, symbol: str
) -> None:
    instrument = samples.instrument(symbol)
    off_tick = {
        row["timestamp"]
        for kind in ("bars", "quotes")[: 1 + (symbol in QUOTED)]
        for row in rows_of(symbol, kind)
        for name, cell in row.items()
        if name not in ("timestamp", "volume", "bid_size", "ask_size")
        and instrument.price(Decimal(cell)) != Decimal(cell)
    }
    assert off_tick == (INTERPOLATED - {"2022-01-01T03:06:00Z"} if symbol == "BTC-PERP" else set())


@pytest.mark.parametrize("symbol", QUOTED)
def test_recorded_sizes_are_whole_lots(samples: Recordings, symbol: str) -> None:
    lot = samples.instrument(symbol).lot
    sizes = [Decimal(row["volume"]) for row in rows_of(symbol, "bars")]
    sizes += [Decimal(row["bid_size"]) for row in rows_of(symbol, "quotes")]
    assert [size for size in sizes if size % lot] == []


def test_instruments_of_the_samples(samples: Recordings) -> None:
    stock, coin = samples.instrument("AAPL"), samples.instrument("BTC-USD")
    assert (stock.asset_class, stock.tick, stock.lot) == (AssetClass.STOCK, Decimal("0.01"), 1)
    assert (coin.asset_class, coin.lot) == (AssetClass.CRYPTO, Decimal("0.00000001"))
    assert coin.min_notional == 10
    assert (stock.calendar, coin.calendar) == ("XNYS", "24/7")
    assert samples.instrument("BTC-PERP").lot == Decimal("0.0001")
    assert {samples.instrument(symbol).currency for symbol in SYMBOLS} == {"USD"}


def test_the_span_holds_all_that_is_recorded(samples: Recordings) -> None:
    assert samples.span("BTC-USD") == (at("2018-04-04T00:00:00"), at("2018-04-07T00:00:00"))
    # Quotes begin before the first bar, and end after the last.
    assert samples.span("AAPL") == (at("2014-06-05T08:00:00"), at("2014-06-10T00:01:00"))
    assert samples.span("BTC-PERP") == (at("2021-12-31T23:01:00"), at("2022-02-01T05:32:00"))
    for symbol in SYMBOLS:
        first, last = samples.span(symbol)
        assert samples.bars(symbol, first, last) == samples.bars(symbol)
        # An opening quote at the very end belongs to what comes after it.
        assert samples.quotes(symbol, first, last) == samples.quotes(symbol)


def test_a_range_holds_what_lies_between_its_ends(samples: Recordings) -> None:
    start, end = at("2018-04-04T10:00:00"), at("2018-04-04T10:30:00")
    bars = samples.bars("BTC-USD", start, end)
    assert (bars[0].start, bars[-1].ts, len(bars)) == (start, end, 30)
    quotes = samples.quotes("BTC-USD", start, end)
    assert (quotes[0].ts, quotes[-1].ts, len(quotes)) == (start, end - MINUTE, 30)


def test_ranges_that_meet_share_nothing_and_lose_nothing(samples: Recordings) -> None:
    middle = at("2013-10-08T15:00:00")
    for read in (samples.bars, samples.quotes):
        before, after = read("SPY", end=middle), read("SPY", start=middle)
        assert before
        assert after
        assert before + after == read("SPY")


# --- files of the user ---------------------------------------------------------------------------


def test_a_plain_file_of_bars(write: Write, tmp_path: Path) -> None:
    """Other order of columns, one more of them, a byte order mark, and line ends of Windows."""
    write(
        "IBM.csv",
        [
            "\ufeffTimestamp,Close,Open,Low,High,Volume,Note\r",
            "2024-03-01T14:35:00Z,11,10,9,12,100,x\r",
            "2024-03-01 15:40:00+01:00,12,11,10,13,50,y\r",
            "2024-03-01T14:50:00,12,11,10,13,0,\r",
            "\r",
        ],
    )
    recordings = Recordings(tmp_path)
    bars = recordings.bars("IBM")
    assert [(b.ts, b.open, b.high, b.low, b.close, b.volume) for b in bars] == [
        (at("2024-03-01T14:40:00"), 10, 12, 9, 11, 100),
        (at("2024-03-01T14:45:00"), 11, 13, 10, 12, 50),
        (at("2024-03-01T14:55:00"), 11, 13, 10, 12, 0),
    ]
    assert {b.interval for b in bars} == {5 * MINUTE}
    assert recordings.refused("IBM") == 0


@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("X-bars-1s.csv", NANOS),
        ("X-2024-bars-5m.csv.gz", 5 * MINUTE),
        ("X-bars-1d.csv", 86400 * NANOS),
    ],
)
def test_the_interval_is_in_the_name(
    write: Write, tmp_path: Path, name: str, interval: int
) -> None:
    write(name, [BARS, BAR])
    (bar,) = Recordings(tmp_path).bars("X")
    assert (bar.interval, bar.ts) == (interval, at("2018-04-04T00:00:00") + interval)


def test_files_of_one_symbol_are_merged_and_rows_that_come_twice_are_counted(
    write: Write, tmp_path: Path
) -> None:
    write("X-20180405-bars-1m.csv", [BARS, BAR.replace("-04T", "-05T"), BAR.replace("11", "10")])
    write("X-20180404-bars-1m.csv.gz", [BARS, BAR.replace("00:00Z", "01:00Z"), BAR, BAR])
    quote = "2018-04-04T00:00:00Z,10,10,10,10,5,11,11,11,11,5"
    write("X-20180404-quotes-1m.csv", [QUOTES, quote, quote])
    recordings = Recordings(tmp_path)
    assert [(b.ts, b.close) for b in recordings.bars("X")] == [
        (at("2018-04-04T00:01:00"), 11),
        (at("2018-04-04T00:02:00"), 11),
        (at("2018-04-05T00:01:00"), 11),
    ]
    assert len(recordings.quotes("X")) == 1
    assert recordings.refused("X") == 3


def test_instruments_without_an_entry_are_inferred(write: Write, tmp_path: Path) -> None:
    write("IBM.csv", [BARS, BAR])
    write("ADA-USDT-bars-1m.csv", [BARS, BAR, "2018-04-04T00:01:00Z,0.3067,0.31,0.3,0.3068,1"])
    write("YEN-USD-bars-1m.csv", [BARS, BAR])
    recordings = Recordings(tmp_path)
    stock, coin = recordings.instrument("IBM"), recordings.instrument("ADA-USDT")
    assert (stock.asset_class, stock.tick, stock.lot) == (AssetClass.STOCK, Decimal("0.01"), 1)
    assert (coin.asset_class, coin.tick) == (AssetClass.CRYPTO, Decimal("0.0001"))
    assert coin.lot == Decimal("0.00000001")
    assert recordings.instrument("YEN-USD").tick == 1
    assert (stock.calendar, coin.calendar) == ("XNYS", "24/7")


def test_a_stock_with_prices_of_a_weekend_trades_whenever_it_was_recorded(
    write: Write, tmp_path: Path
) -> None:
    for symbol, day in (("FRI", 6), ("SAT", 7), ("SUN", 8), ("MON", 9)):
        write(f"{symbol}.csv", [BARS, BAR.replace("2018-04-04", f"2018-04-0{day}")])
    recordings = Recordings(tmp_path)
    always = [s for s in recordings.symbols if recordings.instrument(s).calendar == "24/7"]
    assert always == ["SAT", "SUN"]


def test_an_entry_of_the_folder_is_taken(write: Write, tmp_path: Path) -> None:
    write("IBM.csv", [BARS, BAR])
    write(
        "instruments.toml",
        [
            "[IBM]",
            'asset_class = "stock"',
            'tick = "0.05"',
            'lot = "10"',
            'currency = "CAD"',
            'calendar = "XTSE"',
        ],
    )
    instrument = Recordings(tmp_path).instrument("IBM")
    assert (instrument.tick, instrument.lot, instrument.currency) == (Decimal("0.05"), 10, "CAD")
    assert instrument.calendar == "XTSE"


# --- unsound rows --------------------------------------------------------------------------------

DAMAGED = st.sampled_from(
    [
        "",
        " ",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e999",
        "-5",
        "abc",
        "1_000",
        "\uff11\uff12",
        "\x1b[2J",
        '"',
    ]
)


@st.composite
def rows_and_damage(draw: st.DrawFn, width: int) -> list[tuple[list[str], bool]]:
    """Rows of cells, and whether a cell was damaged."""
    rows: list[tuple[list[str], bool]] = []
    for _ in range(draw(st.integers(1, 8))):
        low = draw(st.integers(1, 10_000))
        cells = [f"{(low + draw(st.integers(0, 50))) / 100:.2f}" for _ in range(width)]
        damaged = draw(st.booleans())
        if damaged:
            cells[draw(st.integers(0, width - 1))] = draw(DAMAGED)
        rows.append((cells, damaged))
    return rows


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_and_damage(3), short=st.booleans())
def test_unsound_bars_are_counted_and_left_out(
    write: Write, tmp_path: Path, rows: list[tuple[list[str], bool]], short: bool
) -> None:
    """Open, close and volume are drawn; high and low hold them, as far as they are numbers."""
    lines: list[str] = []
    for minute, ((open_, close, volume), damaged) in enumerate(rows):
        prices = [float(open_), float(close)] if not damaged else [1.0, 200.0]
        time = f"2018-04-04T00:{minute:02d}:00Z"
        lines.append(f"{time},{open_},{max(prices)},{min(prices)},{close},{volume}")
    lines.append("2018-04-04T01:00:00Z,10,12,9,11" + ("" if short else ",5"))
    lines.append("2018-04-04T01:01:00Z,10,9,12,11,5")  # high below low
    lines.append("2018-04-04T01:02:00Z,10,12,9,11,0")
    write("X-bars-1m.csv", [BARS, *lines])
    recordings = Recordings(tmp_path)
    bars = recordings.bars("X")
    assert recordings.refused("X") == sum(damaged for _, damaged in rows) + 1 + short
    assert all(bar.is_sound for bar in bars)
    good = [cells for cells, damaged in rows if not damaged]
    assert [(b.open, b.close, b.volume) for b in bars[: len(good)]] == [
        tuple(map(float, cells)) for cells in good
    ]
    assert len(bars) == len(good) + 2 - short


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_and_damage(6))
def test_unsound_quotes_are_counted_and_left_out(
    write: Write, tmp_path: Path, rows: list[tuple[list[str], bool]]
) -> None:
    lines: list[str] = []
    for minute, ((bid, ask, bid_end, ask_end, bid_size, ask_size), damaged) in enumerate(rows):
        if not damaged:
            bid, ask = sorted((bid, ask), key=float)
            bid_end, ask_end = sorted((bid_end, ask_end), key=float)
        time = f"2018-04-04T00:{minute:02d}:00Z"
        lines.append(f"{time},{bid},1,1,{bid_end},{bid_size},{ask},1,1,{ask_end},{ask_size}")
    lines.append("2018-04-04T01:00:00Z,12,12,12,12,5,11,11,11,11,5")  # crossed
    lines.append("2018-04-04T01:01:00Z,10,10,10,12,5,11,11,11,11,5")  # crossed at its end
    lines.append("2018-04-04T01:02:00Z,10,10,10,10,5,11,11,11,11,5")
    write("X-quotes-1m.csv", [QUOTES, *lines])
    recordings = Recordings(tmp_path)
    # Damage can hit a cell and leave a crossed row beside it; either way the row is refused.
    assert recordings.refused("X") == sum(damaged for _, damaged in rows) + 2
    assert all(quote.is_sound for quote in recordings.quotes("X"))
    assert len(recordings.tape("X").opening) == sum(not damaged for _, damaged in rows) + 1


# --- what cannot be read -------------------------------------------------------------------------


def test_an_unknown_symbol_names_those_that_are_there_closest_first(samples: Recordings) -> None:
    for ask in (samples.bars, samples.quotes, samples.span, samples.instrument, samples.refused):
        with pytest.raises(UserError) as caught:
            ask("btc-usdt")
        assert "'btc-usdt'" in caught.value.message
        listed = caught.value.remedy.removeprefix("Symbols that are there: ").split(", ")
        assert listed[0] == "BTC-USD"
        assert sorted(listed) == sorted(SYMBOLS)


def message_of(folder: Path, symbol: str = "X") -> str:
    """What the user reads; an error without a remedy is none."""
    with pytest.raises(RecordingError) as caught:
        Recordings(folder).bars(symbol)
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["timestamp,open,high,low,volume", BAR], "line 1: no column close"),
        (["timestamp;open;high;low;close;volume", BAR], "no column timestamp, open, high"),
        ([], "line 1: no column timestamp"),
        ([BARS, BAR, "yesterday,10,12,9,11,100"], "line 3: 'yesterday' is not a time"),
        ([BARS, BAR, "", "1522800000,10,12,9,11,100"], "line 4: '1522800000' is not a time"),
        ([BARS, "1969-12-31T23:59:00Z,10,12,9,11,100"], "line 2: '1969-12-31T23:59:00Z' is not"),
        ([BARS, "2262-01-01,10,12,9,11,100"], "line 2: '2262-01-01' is not a time"),
        ([BARS, ",10,12,9,11,100"], "line 2: '' is not a time"),
        ([BARS, "\x1b[2J[red],10,12,9,11,100"], "line 2: ' (2J(red)' is not a time"),
        ([BARS, BAR, "9" * 200_000], "line 3: field larger than field limit"),
        ([BARS, "2018-04-04,nan,12,9,11,100"], "no sound row of X (1 refused)"),
        ([BARS], "no sound row of X (0 refused)"),
    ],
)
def test_a_broken_file_is_named_with_line_and_rule(
    write: Write, tmp_path: Path, lines: list[str], said: str
) -> None:
    path = write("X-bars-1m.csv", lines)
    message = message_of(tmp_path)
    assert path.name in message
    assert said in message


def test_a_file_that_is_not_gzip(tmp_path: Path) -> None:
    (tmp_path / "X-bars-1m.csv.gz").write_text(f"{BARS}\n{BAR}\n")
    assert "X-bars-1m.csv.gz cannot be read (no whole gzip file" in message_of(tmp_path)


def test_a_gzip_file_that_was_cut(tmp_path: Path) -> None:
    whole = gzip.compress(f"{BARS}\n{BAR}\n".encode())
    for length in (5, 20, len(whole) - 1):
        (tmp_path / "X-bars-1m.csv.gz").write_bytes(whole[:length])
        assert "no whole gzip file" in message_of(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "X-bars-1m.csv").mkdir()
    message = message_of(tmp_path)
    assert "X-bars-1m.csv cannot be read (Is a directory)" in message
    assert "permissions" in message


def test_a_folder_that_is_not_there_or_holds_nothing(tmp_path: Path) -> None:
    assert "No such file or directory" in message_of(tmp_path / "nowhere")
    assert "holds no .csv" in message_of(tmp_path)


def test_bars_of_two_intervals_are_not_mixed(write: Write, tmp_path: Path) -> None:
    write("X-bars-1m.csv", [BARS, BAR])
    write("X-2018-bars-1s.csv", [BARS, BAR])
    message = message_of(tmp_path)
    assert "X-2018-bars-1s.csv and X-bars-1m.csv hold bars of different intervals" in message


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["[X"], "instruments.toml"),
        (["[X]", 'asset_class = "bond"', 'tick = "1"', 'lot = "1"'], "bond"),
        (["[X]", 'asset_class = "stock"', 'tick = "x"', 'lot = "1"'], "tick"),
        (["[X]", 'asset_class = "stock"', 'tick = "0"', 'lot = "1"'], "tick of X is 0"),
        (["[X]", 'asset_class = "stock"', 'tick = "1"', 'lot = "nan"'], "lot of X is NaN"),
        (["[X]", 'asset_class = "stock"', 'tick = "1"'], "lot"),
        (
            ["[X]", 'asset_class = "stock"', 'tick = "1"', 'lot = "1"', 'min_notional = "nan"'],
            "min_notional of X is NaN",
        ),
        (["[X]", 'asset_class = "stock"', 'tick = "1"', 'lot = "1"', "size = 1"], "size"),
    ],
)
def test_a_broken_entry_is_named(write: Write, tmp_path: Path, lines: list[str], said: str) -> None:
    write("X.csv", [BARS, BAR])
    write("instruments.toml", lines)
    message = message_of(tmp_path)
    assert "instruments.toml" in message
    assert said in message


def test_the_name_of_a_file_cannot_reach_the_terminal(write: Write, tmp_path: Path) -> None:
    write("EVIL\x1b[2J-bars-1m.csv", [BARS, BAR])
    assert Recordings(tmp_path).symbols == ("EVIL (2J",)


def test_files_are_read_once(write: Write, tmp_path: Path) -> None:
    path = write("X.csv", [BARS, BAR])
    recordings = Recordings(tmp_path)
    bars = recordings.bars("X")
    path.unlink()
    assert recordings.bars("X") == bars
