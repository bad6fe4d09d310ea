"""What Alpaca says of orders without being asked: `trade_updates` over a WebSocket."""

import logging
from typing import Any

from alpaca.trading.stream import TradingStream

from engine.brokers.alpaca.heard import Heard
from engine.brokers.alpaca.login import Login

PING_S = 5
CLOSE_S = 0.5

# At the level DEBUG every frame would be written down, and the first one has the secret.
socket_log = logging.getLogger(f"{__name__}.socket")
socket_log.setLevel(logging.INFO)


class Updates(TradingStream):
    """The library's stream, which connects again by itself. It says here when it is gone and
    back."""

    def __init__(self, name: str, login: Login) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            login.key.get_secret_value(),
            login.secret.get_secret_value(),
            paper=not login.live,
            raw_data=True,
            url_override=login.stream_url,  # pyright: ignore[reportArgumentType] - None is default
            websocket_params={
                "ping_interval": PING_S,
                "ping_timeout": PING_S,
                "close_timeout": CLOSE_S,
                "max_queue": 1024,
                "logger": socket_log,
            },
        )
        self.heard = Heard(name)
        self.subscribe_trade_updates(self._hear)  # pyright: ignore[reportUnknownMemberType]

    async def open(self) -> None:
        await self.heard.open(self._run_forever())

    async def end(self) -> None:
        """No task and no socket of it is left."""
        # Python 3.11 may lose a cancel where a message comes in the same moment; the library looks
        # at its own word for it before it waits for the next one.
        await self.stop_ws()
        await self.heard.end()
        await super().close()

    async def _start_ws(self) -> None:
        await super()._start_ws()
        await self.heard.there()

    async def close(self) -> None:
        await self.heard.lost()
        await super().close()

    async def _hear(self, message: dict[str, Any]) -> None:
        await self.heard.said.put(message["data"])
