"""Alpaca's stream of market data as a process of its own: quotes and bars of many symbols.

It prints its address. For each line `RATE SECONDS` that it reads it sends so many messages a second
for so long, and prints how many quotes and bars those were. A quote's time is when it was sent.
"""

import asyncio
import sys
import time
from itertools import cycle
from typing import Any

from engine.core.model import MINUTE
from engine.feeds.synthetic import symbol_names
from tests.loopback.alpaca_data import AlpacaData
from tests.loopback.serving import serving

SYMBOLS = symbol_names(500)
QUOTES_A_BAR = 60
TICK_S = 0.005
MOST_A_FRAME = 500


class Flow:
    def __init__(self, data: AlpacaData) -> None:
        self._data = data
        self._symbols = cycle(SYMBOLS)
        self._bars = dict.fromkeys(SYMBOLS, time.time_ns() // MINUTE * MINUTE - 24 * 60 * MINUTE)
        self.quotes = self.bars = 0

    async def run(self, rate: int, seconds: float) -> None:
        self.quotes = self.bars = 0
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            due = int(rate * passed) - sent
            sent += due
            for first in range(0, due, MOST_A_FRAME):
                count = min(due - first, MOST_A_FRAME)
                self._data.say(*(self._message() for _ in range(count)))
            await asyncio.sleep(TICK_S)

    def _message(self) -> dict[str, Any]:
        symbol = next(self._symbols)
        if (self.quotes + self.bars) % QUOTES_A_BAR == QUOTES_A_BAR - 1:
            self.bars += 1
            self._bars[symbol] += MINUTE
            row = {"T": "b", "S": symbol, "t": self._bars[symbol]}
            return row | dict.fromkeys("ohlc", 100.0) | {"v": 1000}
        self.quotes += 1
        bid = 100 + self.quotes % 7 * 0.01
        row = {"T": "q", "S": symbol, "t": time.time_ns()}
        return row | {"bp": bid, "ap": bid + 0.01, "bs": 1, "as": 1}


async def main() -> None:
    data = AlpacaData()
    async with serving(data):
        print(data.url, data.stream_url, flush=True)
        flow = Flow(data)
        while line := await asyncio.to_thread(sys.stdin.readline):
            rate, seconds = line.split()
            await flow.run(int(rate), float(seconds))
            print(flow.quotes, flow.bars, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
