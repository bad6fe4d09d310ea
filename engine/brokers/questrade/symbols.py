"""Questrade's numbers of symbols: most of its calls take no names."""

from typing import TYPE_CHECKING

from engine.brokers.base import InDoubt, NotConnected
from engine.brokers.questrade import wire

if TYPE_CHECKING:
    from engine.brokers.questrade.session import Session


class Symbols:
    """What `session` knows of symbols, each asked for once."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._ids: dict[str, int] = {}

    async def id_of(self, symbol: str) -> int | None:
        """Questrade's number for `symbol`; None where it has none. Raises NotSent where there is no
        answer, also where that was lost: no order was on its way."""
        name = wire.name_of(symbol)
        if name not in self._ids:
            try:
                answer = await self._session.get(
                    "symbols/search", wire.Symbols, "market", prefix=name
                )
            except InDoubt as error:
                raise NotConnected(f"{symbol} cannot be looked up: {error}") from error
            self._ids |= {row.symbol: row.symbol_id for row in answer.symbols}
        return self._ids.get(name)
