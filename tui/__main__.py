"""Where `tradebot-tui` starts: signals are held before anything is imported."""

import gc
import sys

from engine.ops import signals


def main() -> int:
    """As `tui.main.main`, which answers the signals."""
    signals.hold()
    # To look for garbage while modules are loaded takes a tenth of the time to the first frame.
    gc.disable()
    from tui.main import main as console

    return console()


if __name__ == "__main__":
    sys.exit(main())
