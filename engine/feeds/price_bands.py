"""The price bands of the Limit Up-Limit Down plan: no stock of the United States trades outside of
them (https://www.luldplan.com)."""

from engine.core.events import HaltChanged
from engine.core.model import Quote


class PriceBands:
    """Which symbols are at a limit: where a bid is at the upper band nobody sells, where an ask is
    at the lower one nobody buys. That lasts for 15 seconds; then the exchange halts the stock."""

    def __init__(self) -> None:
        self._bands: dict[str, tuple[float, float]] = {}
        self._at_limit: set[str] = set()

    def set(self, symbol: str, lower: float, upper: float) -> None:
        """The bands of `symbol` from now on; numbers that make no sense bound nothing."""
        self._bands[symbol] = lower, upper

    def forget(self, symbol: str) -> None:
        """Its exchange halted it, or resumed it: its bands are new ones then."""
        self._bands.pop(symbol, None)
        self._at_limit.discard(symbol)

    def changed_by(self, quote: Quote) -> HaltChanged | None:
        """What `quote` says of a limit, where that is new."""
        symbol = quote.symbol
        lower, upper = self._bands.get(symbol, (0.0, 0.0))
        reason = ""
        if 0 < upper <= quote.bid:
            reason = f"limit up: the bid is at the upper price band {upper:g}"
        elif 0 < quote.ask <= lower:
            reason = f"limit down: the ask is at the lower price band {lower:g}"
        if bool(reason) == (symbol in self._at_limit):
            return None
        self._at_limit ^= {symbol}
        return HaltChanged(symbol, bool(reason), reason)
