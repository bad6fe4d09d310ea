"""`tradebot data import`: bars of others in the local archive, as a stranger brings them."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from types import ModuleType

import pandas
import pytest
from click.testing import CliRunner, Result

from engine.cli.main import main
from engine.core.model import MINUTE, NANOS
from engine.data.archive import Archive
from engine.feeds.recordings import SAMPLES, Recordings

HEAD = "timestamp,open,high,low,close,volume\n"
FIRST = 1_718_633_460 * NANOS  # 2024-06-17T14:11:00Z, a Monday in the session of New York


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bring(text: str, *options: str, name: str = "ACME.csv") -> Result:
    Path(name).write_text(text)
    return CliRunner().invoke(main, ["data", "import", name, *options])


def closes(symbol: str = "ACME", interval: str = "1m") -> dict[int, float]:
    """The close of each archived bar, by its time."""
    bars = Archive(Path("var/archive"), interval).bars(symbol)
    return {bar.ts: bar.close for bar in bars}


def test_bars_are_archived_and_can_be_given_again() -> None:
    rows = ["2024-06-17T14:11:00Z,10,11,9,10.5,100", "2024-06-17T14:12:00Z,10,11,9,10.6,100"]
    done = bring(HEAD + "\n".join(rows))
    assert "ACME: 2 bars new, 0 changed, 0 refused" in done.stdout
    assert closes() == {FIRST + MINUTE: 10.5, FIRST + 2 * MINUTE: 10.6}
    again = bring(HEAD + rows[0] + "\n" + rows[1].replace("10.6", "10.7"))
    assert "0 bars new, 1 changed" in again.stdout
    assert closes()[FIRST + 2 * MINUTE] == 10.7
    assert Recordings(Path("var/archive/1m")).symbols == ("ACME",)


@pytest.mark.parametrize(
    ("time", "options"),
    [
        ("1718633460", ()),
        ("1718633460000", ()),
        ("1718633460000000", ()),
        ("1718633460000000000", ()),
        ("2024-06-17 10:11:00", ("--zone", "America/New_York")),
        ("2024-06-17T10:11:00-04:00", ()),
        ("2024-06-17T14:12:00Z", ("--stamp", "end")),
    ],
)
def test_a_time_may_be_written_in_many_ways(time: str, options: tuple[str, ...]) -> None:
    assert bring(f"Time,O,H,L,C,V\n{time},10,11,9,10.5,100\n", *options).exit_code == 0
    assert closes() == {FIRST + MINUTE: 10.5}


def test_what_is_not_sound_is_refused_and_what_is_missing_is_told() -> None:
    minutes = [f"2024-06-17T14:{minute:02}:00Z,10,11,9,10,1" for minute in (11, 12, 15, 20, 21)]
    bad = ["2024-06-17T14:30:00Z,10,9,11,10,1", "2024-06-17T14:31:00Z,,11,9,10,1"]
    done = bring(HEAD + "\n".join(minutes + bad))
    assert "5 bars new, 0 changed, 2 refused" in done.stdout
    assert "low and high do not hold open and close: 2\n" in done.stdout
    assert "  line 7, line 8: correct them, and import it again" in done.stdout
    assert "missing while the market was open: 6 bars" in done.stdout
    assert "2024-06-17 14:16 to 2024-06-17 14:20: 4" in done.stdout


def test_programs_are_told_every_line_that_was_refused() -> None:
    bad = ["2024-06-17T14:30:00Z,10,9,11,10,1"] * 12
    rows = "\n".join([*bad, "2024-06-17T14:11:00Z,10,11,9,10,1"])
    told = json.loads(bring(HEAD + rows, "--json").stdout)
    assert told["refused_at"] == [f"line {n}" for n in range(2, 14)]
    assert "line 11 and 2 more (--json has all)" in bring(HEAD + rows).stdout


@pytest.mark.parametrize("pack", [gzip, bz2, lzma])
def test_a_packed_file_is_read_too(pack: ModuleType) -> None:
    name = f"ACME.csv.{ {gzip: 'gz', bz2: 'bz2', lzma: 'xz'}[pack] }"
    with pack.open(name, "wt") as file:
        file.write(HEAD + "2024-06-17T14:11:00Z,10,11,9,10.5,100\n")
    assert CliRunner().invoke(main, ["data", "import", name]).exit_code == 0
    assert closes() == {FIRST + MINUTE: 10.5}
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[:-10])
    damaged = CliRunner().invoke(main, ["data", "import", name])
    assert damaged.exit_code == 2
    assert f"{name} cannot be read (" in damaged.stderr


def test_the_night_of_a_stock_is_no_gap_and_that_of_a_pair_is() -> None:
    rows = "2024-06-17T19:59:00Z,10,11,9,10,1\n2024-06-18T13:30:00Z,10,11,9,10,1\n"
    stock = bring(HEAD + rows, "--json")
    assert json.loads(stock.stdout)["missing"] == 0
    pair = bring(HEAD + rows, "--symbol", "BTC/USDT", "--json")
    assert json.loads(pair.stdout) == {
        "symbol": "BTC-USDT", "new": 2, "changed": 0, "refused": 0, "missing": 17 * 60 + 30,
    }  # fmt: skip


def test_every_year_has_a_file_and_a_backtest_runs_over_them() -> None:
    recorded = Recordings(SAMPLES).bars("BTC-PERP")[:3000]
    rows = "\n".join(
        f"{bar.start},{bar.open},{bar.high},{bar.low},{bar.close},{bar.volume}" for bar in recorded
    )
    bring(HEAD + rows, "--symbol", "BTC-PERP")
    assert sorted(path.name for path in Path("var/archive/1m").iterdir()) == [
        "BTC-PERP-2021-bars-1m.csv.gz",
        "BTC-PERP-2022-bars-1m.csv.gz",
    ]
    assert Archive(Path("var/archive"), "1m").bars("BTC-PERP") == recorded
    run = [
        "backtest",
        "-s",
        "sma_crossover",
        "--symbol",
        "BTC-PERP",
        "--data",
        "var/archive/1m",
        "--json",
    ]
    done = CliRunner().invoke(main, run)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize(
    ("times", "options"),
    [
        (["2024-06-17T14:11:00Z", "2024-06-17T14:12:00Z"], ()),
        (["2024-06-17T10:11:00-04:00", "2024-06-17T10:12:00-04:00"], ()),
        (["2024-06-17T10:11:00", "2024-06-17T10:12:00"], ("--zone", "America/New_York")),
    ],
)
def test_a_parquet_file_has_its_times_in_a_column_or_as_its_index(
    times: list[str], options: tuple[str, ...], index: bool
) -> None:
    named = {} if index else {"Time": pandas.to_datetime(times)}
    table = pandas.DataFrame(named | prices(), index=pandas.to_datetime(times) if index else None)
    table.to_parquet("ACME.parquet")
    done = CliRunner().invoke(main, ["data", "import", "ACME.parquet", *options])
    assert "ACME: 2 bars new, 0 changed, 0 refused" in done.output
    assert closes() == {FIRST + MINUTE: 10.5, FIRST + 2 * MINUTE: 10.6}


def prices() -> dict[str, list[float]]:
    return {"Open": [10, 10], "High": [11, 11], "Low": [9, 9], "Close": [10.5, 10.6], "v": [1, 2]}


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_the_times_of_a_parquet_file_may_be_numbers(unit: int) -> None:
    times = [(FIRST + n * MINUTE) // NANOS * unit for n in (0, 1)]
    pandas.DataFrame({"ts": times} | prices()).to_parquet("ACME.parquet")
    done = CliRunner().invoke(main, ["data", "import", "ACME.parquet"])
    assert "2 bars new" in done.output
    assert closes() == {FIRST + MINUTE: 10.5, FIRST + 2 * MINUTE: 10.6}


def test_a_parquet_file_that_is_damaged_or_lacks_a_time_is_told() -> None:
    table = pandas.DataFrame({"t": pandas.to_datetime(["2024-06-17", None])} | prices())
    table.to_parquet("ACME.parquet")
    lacking = CliRunner().invoke(main, ["data", "import", "ACME.parquet"])
    path = Path("ACME.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    damaged = CliRunner().invoke(main, ["data", "import", "ACME.parquet"])
    assert (lacking.exit_code, damaged.exit_code) == (2, 2)
    assert "ACME.parquet has a time that cannot be read (row 2: NaT)" in lacking.stderr
    assert "ACME.parquet cannot be read (Could not open Parquet" in damaged.stderr
    assert not Path("var/archive").exists()


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("time,open\n1,2\n", (), "has no column high, low, close, volume"),
        (HEAD + "yesterday,1,1,1,1,1\n", (), "has a time that cannot be read (line 2: yesterday)"),
        (
            HEAD + "2024-06-17T14:11:00Z,1,1,1,1,1\n\n,1,1,1,1,1\n",
            (),
            "has a time that cannot be read (line 4: it is empty)",
        ),
        (HEAD + "1718633460,1,1,1,1,1\nlater,1,1,1,1,1\n", (), "read (line 3: later)"),
        (
            HEAD + "2024-06-17T14:11:00Z,1,1,1,1,1\n\n2024-06-17T14:12:00Z,1,284.5,1,1,1,1\n",
            (),
            "ACME.csv line 4 has 7 fields, the line of column names 6",
        ),
        (
            HEAD + "2024-06-17T14:11:00Z,1,1,1,1,1\n2024-06-17T14:1",
            (),
            "ACME.csv line 3 has 1 field, the line of column names 6",
        ),
        (HEAD.replace("low", "high"), (), "ACME.csv line 1 names the column high twice"),
        (HEAD + "2024-06-17T10:11:00,1,1,1,1,1\n", ("--zone", "Nowhere"), "--zone Nowhere is no"),
        ("", (), "cannot be read (it has no line of column names)"),
        (
            HEAD.replace(",", ";") + "2024-06-17;1;1;1;1;1\n",
            (),
            "line 1 separates the fields by a semicolon",
        ),
        (
            HEAD.replace(",", ";") + "2024-06-17;1;1;1;1;1\n2024-06-18;1,5;1,5;1,5;1,5;1\n",
            (),
            "write it with commas between the fields, and points in the numbers",
        ),
        (
            HEAD.replace(",", "\t"),
            (),
            "ACME.csv line 1 separates the fields by a tab, not by a comma",
        ),
        (HEAD, ("--symbol", "../../etc/passwd"), "../../etc/passwd is no symbol"),
    ],
)
def test_wrong_input_is_told_with_a_remedy(text: str, options: tuple[str, ...], said: str) -> None:
    done = bring(text, *options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("var/archive").exists()


def test_a_file_that_is_not_there_is_told() -> None:
    done = CliRunner().invoke(main, ["data", "import", "none.csv"])
    assert done.exit_code == 2
    assert "none.csv cannot be read (No such file or directory)" in done.stderr
