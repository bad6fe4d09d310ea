"""`tradebot`: what it prints, and how it fails."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from engine import __version__
from engine.cli.main import Commands, LazyCommand, main
from engine.ops.errors import UserError
from engine.ops.settings import Settings

ROOT = Path(__file__).parents[2]


def run(*arguments: str, command: click.Command = main) -> Result:
    return CliRunner().invoke(command, arguments)


def tradebot(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in the current folder."""
    return subprocess.run(
        [sys.executable, "-c", "from engine.cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


@click.group(cls=Commands)
def failing() -> None:
    """Commands that fail."""


@failing.command()
def by_user() -> None:
    raise UserError("no strategy is called sma", "write sma_crossover")


@failing.command()
def by_us() -> None:
    key = "canary"
    raise RuntimeError(len(key))


@failing.command()
def by_interrupt() -> None:
    raise click.Abort


@failing.command()
def by_closed_pipe() -> None:
    raise BrokenPipeError(errno.EPIPE, "nobody reads")


def test_the_version_and_the_commands_are_told() -> None:
    assert run("--version").output == f"tradebot, version {__version__}\n"
    assert {"backtest", "settings"} <= set(run("--help").output.split())


def test_settings_as_json_are_those_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_DAILY_LOSS", "250.50")
    printed = json.loads(run("settings", "--json").output)
    assert printed["MAX_DAILY_LOSS"] == "250.50"
    assert list(printed) == [name.upper() for name in Settings.model_fields]


def test_settings_as_a_table_have_every_name_value_and_meaning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("SYMBOLS", "\x1b[31mAAPL")
    output = run("settings").output
    for name, field in Settings.model_fields.items():
        assert name.upper() in output
        assert str(field.description) in output
    assert " (31mAAPL" in output


def test_a_wrong_setting_is_told_without_a_traceback_and_leaves_nothing_behind() -> None:
    done = tradebot("settings", MAX_POSITION_SIZE_PCT="abc", FPS="0")
    assert done.returncode == 2
    assert done.stdout == ""
    first, second, remedy = done.stderr.splitlines()
    assert first.startswith("error: MAX_POSITION_SIZE_PCT='abc': ")
    assert second.startswith("FPS='0': ")
    assert remedy == "mend the above in the environment or in .env"
    assert list(Path().iterdir()) == []


def test_a_file_of_settings_that_is_none_is_told() -> None:
    Path(".env").mkdir()
    assert tradebot("settings").stderr.startswith("error: .env is a folder, not a file\n")
    Path(".env").rmdir()
    Path(".env").write_text("MODE paper\n")
    assert tradebot("settings").stderr.startswith("error: .env line 1: not NAME=value\n")


def test_an_error_of_the_caller_is_told_with_its_remedy() -> None:
    result = run("by-user", command=failing)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: no strategy is called sma\nwrite sma_crossover\n"


def test_an_error_of_ours_is_one_line_and_its_traceback_is_in_the_log() -> None:
    result = run("by-us", command=failing)
    log = Path("var/tradebot.log")
    assert result.exit_code == 1
    assert result.output == f"error: unexpected RuntimeError; {log.absolute()} says more\n"
    (line,) = log.read_text().splitlines()
    assert "CRITICAL engine.cli.main unexpected RuntimeError | Traceback" in line
    assert line.endswith("RuntimeError: 6")
    assert line.count("canary") == 0


@pytest.mark.parametrize("command", ["by-interrupt", "by-closed-pipe"])
def test_an_interrupt_and_a_closed_pipe_are_no_errors_of_ours(command: str) -> None:
    result = run(command, command=failing)
    assert result.exit_code == 1
    assert "unexpected" not in result.output
    assert not Path("var").exists()


def test_an_error_of_ours_is_told_even_where_no_log_can_be_written() -> None:
    Path("var").write_text("")
    result = run("by-us", command=failing)
    assert result.exit_code == 1
    assert result.output.startswith(
        "error: unexpected RuntimeError, and no log can be written: cannot make the folder var"
    )


def test_a_command_is_imported_when_it_is_called_and_not_for_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lazy_command_of_a_test.py").write_text(
        "import click\n"
        "@click.command()\n"
        "@click.option('--times', type=int)\n"
        "def greet(times):\n"
        "    click.echo('hello ' * times)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    group = Commands(commands=[LazyCommand("greet", "lazy_command_of_a_test:greet", "Greet.")])
    assert "Greet." in run("--help", command=group).output
    assert "lazy_command_of_a_test" not in sys.modules
    assert run("greet", "--times", "2", command=group).output == "hello hello \n"
    assert "--times INTEGER" in run("greet", "--help", command=group).output
    assert run("greet", "--times", "x", command=group).exit_code == 2


def test_help_needs_no_settings_and_none_of_the_heavy_libraries() -> None:
    heavy = "{'pydantic', 'numpy', 'sqlalchemy', 'textual', 'rich'}"
    code = f"import sys, engine.cli.main; sys.exit(str({heavy} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stderr.strip() == "set()"


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may read everything: it is nobody meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize(
    "arguments",
    [["controls"], ["audit", "verify"], ["audit", "export", "--format", "csv"], ["selfcheck"]],
    ids=" ".join,
)
def test_what_this_user_may_not_read_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    folder = tmp_path / "state"
    monkeypatch.chdir("/")
    monkeypatch.setenv("DATA_DIR", str(folder))
    run(*arguments)  # loads what it takes, as nobody may not
    folder.mkdir(0, exist_ok=True)
    folder.chmod(0)
    with without_rights():
        refused = run(*arguments)
    folder.chmod(0o700)
    assert refused.exit_code == 2
    what, remedy = refused.stderr.splitlines()
    assert str(folder) in what
    assert "(Permission denied)" in what
    assert remedy == "be the user who runs the engine, or give the right DATA_DIR"


@pytest.mark.parametrize(
    "command",
    [
        "audit export", "backtest", "controls", "data fetch", "report fintrac", "search",
        "walk-forward",
    ],
)  # fmt: skip
def test_a_span_of_time_is_given_alike_everywhere(command: str) -> None:
    told = run(*command.split(), "--help").output
    assert "--start DATE" in told
    assert "--end DATE" in told
