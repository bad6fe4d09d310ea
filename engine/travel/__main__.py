"""Where the process that travels starts: `python -m engine.travel DESCRIPTOR JOURNAL`."""

import logging
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from engine.core.text import clean
from engine.ops.errors import UserError
from engine.ops.logging import start_logging
from engine.ops.settings import load_settings
from engine.travel.journey import Journey
from engine.travel.messages import Reading, Refused, encode
from engine.travel.past import Past

POLITENESS = 10
"""The engine, and whatever else runs here, goes first."""


def main() -> None:
    connection, path = Connection(int(sys.argv[1])), Path(sys.argv[2])
    os.nice(POLITENESS)
    try:
        settings = load_settings()
        past = Past(path, settings, lambda read: connection.send_bytes(encode(Reading(read))))
        Journey(past, connection).run()
    except UserError as error:
        connection.send_bytes(encode(Refused(str(error))))
    except ConnectionError:
        pass  # nobody is there any more
    except Exception as error:
        start_logging(load_settings())
        logging.getLogger("engine.travel").critical("time travel failed", exc_info=error)
        reason = f"time travel failed ({clean(type(error).__name__)})\nsee the log"
        connection.send_bytes(encode(Refused(reason)))
        os._exit(1)


if __name__ == "__main__":
    main()
