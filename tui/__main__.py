"""Where `tradebot-tui` starts: signals are held before anything is imported."""

import sys

from engine.ops import signals


def main() -> int:
    """As `tui.main.main`, which answers the signals."""
    signals.hold()
    from tui.main import main as console

    return console()


if __name__ == "__main__":
    sys.exit(main())
