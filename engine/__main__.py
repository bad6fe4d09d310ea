"""Where `tradebot` starts: signals to an engine are held before anything is imported."""

import sys

from engine.ops import signals


def main() -> None:
    if "run" in sys.argv[1:2]:
        signals.hold()
    from engine.cli.main import main as commands

    commands(prog_name="tradebot")


if __name__ == "__main__":
    main()
