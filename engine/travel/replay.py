"""`tradebot replay`: a session again, from the journal of its inputs."""

import json
from collections.abc import Mapping
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from engine.build import plugins
from engine.core.events import Event, StrategyFileChanged
from engine.core.machine import Machine, MachineConfig
from engine.core.model import utc
from engine.core.strategy import Strategy
from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.settings import load_settings
from engine.plugins import fingerprint
from engine.store.journal import JournalHeader, JournalReader

DIFFERENT = 1

_CONFIG = msgspec.msgpack.Decoder(MachineConfig)
"""Made at the import, which one thread does: where two decode a type for the first time, one of
them sees it half made, and the process crashes."""


class Outcome(Struct, frozen=True):
    """What a replay came to. `session_state` is the hash with which the session itself ended, empty
    where it did not end in order or its journal ended before it; `torn` says where a
    torn journal was cut."""

    inputs: int
    last_ts: int
    state: str
    session_state: str
    torn: str

    @property
    def is_equal(self) -> bool | None:
        """None where the session's own hash is not known."""
        return self.state == self.session_state if self.session_state else None


def open_session(path: Path, kinds: Mapping[str, type[Strategy]]) -> tuple[JournalReader, Machine]:
    """The journal at `path`, and a machine as the session began with, which takes its inputs.

    Raises UserError where the journal cannot be read, or one of its strategies is not there or not
    what it was.
    """
    reader = JournalReader(path)
    config = config_of(reader.header, path)
    _check_strategies(config, reader.header.strategies, kinds)
    return reader, Machine(config, kinds)


def config_of(header: JournalHeader, path: Path) -> MachineConfig:
    """What the machine of a session was made from. Raises UserError where this version cannot."""
    try:
        return _CONFIG.decode(header.config)
    except msgspec.MsgspecError as error:
        raise UserError(
            f"the journal {clean(str(path))} was written by another version ({clean(str(error))})",
            f"replay it with the version that wrote it: {clean(header.product)}",
        ) from error


def replay_journal(path: Path, kinds: Mapping[str, type[Strategy]]) -> Outcome:
    """Give a machine all inputs of a journal, in order.

    Raises UserError as `open_session`, and where the session loaded another file of a strategy.
    """
    reader, machine = open_session(path, kinds)
    inputs = 0
    for event in reader:
        check_file(event, inputs, kinds)
        machine.process(event)
        inputs += 1
    return Outcome(inputs, machine.bus.now, machine.state_hash(), reader.state_hash, reader.torn)


def _check_strategies(
    config: MachineConfig, fingerprints: Mapping[str, str], kinds: Mapping[str, type[Strategy]]
) -> None:
    for setup in config.strategies:
        name = clean(setup.name)
        if setup.name not in kinds:
            raise UserError(
                f"the journal needs the strategy {name}, which is not there",
                "name the folder that has it in STRATEGIES_DIR",
            )
        known = fingerprints.get(setup.name)
        if known is not None and known != fingerprint(kinds[setup.name]):
            raise UserError(
                f"the strategy {name} is not what it was in that session",
                "put back its file of then",
            )


def check_file(event: Event, inputs: int, kinds: Mapping[str, type[Strategy]]) -> None:
    """A session may have loaded a file in its midst; the journal has its hash, not the file.

    Raises UserError where `event`, the one after `inputs`, loads another than the one of `kinds`.
    """
    if not isinstance(event, StrategyFileChanged):
        return
    kind = kinds.get(event.strategy)
    if kind is None or fingerprint(kind) != event.fingerprint:
        raise UserError(
            f"after {inputs} inputs, at {utc(event.ts).isoformat()}, the session loaded another "
            f"file of the strategy {clean(event.strategy)}, which is not the one that is there: "
            "what came then cannot be replayed",
            f"put back the file with SHA-256 {event.fingerprint}",
        )


@click.command(short_help="Run a session again from its journal.")
@click.argument("journal", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def replay(ctx: click.Context, journal: Path, as_json: bool) -> None:
    """Run a session again from the JOURNAL of its inputs, and compare the state that it comes to.

    Nothing is sent and nothing is stored. A journal that a crash tore is replayed up to its last
    whole record. Exit status: 0 the same state, or the session's is not known; 1 another state; 2
    the journal cannot be replayed.
    """
    outcome = replay_journal(journal, plugins(load_settings()).kinds)
    if as_json:
        click.echo(json.dumps(asdict(outcome) | {"equal": outcome.is_equal}))
    else:
        click.echo("\n".join(_lines(outcome)))
    if outcome.is_equal is False:
        ctx.exit(DIFFERENT)


def _lines(outcome: Outcome) -> list[str]:
    lines = [f"{outcome.inputs} inputs, the last at {utc(outcome.last_ts).isoformat()}"]
    if outcome.torn:
        lines.append(f"the journal is torn: {outcome.torn}")
    lines.append(f"state {outcome.state}")
    if outcome.is_equal is None:
        lines.append(
            "the session did not end in order, or went on after its journal: "
            "its own state is not known"
        )
    elif outcome.is_equal:
        lines.append("equal: the session ended in this state")
    else:
        lines.append(f"DIFFERENT: the session ended in state {outcome.session_state}")
    return lines
