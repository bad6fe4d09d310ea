"""The first tier: what holds for one order and the position that it makes."""

from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from operator import attrgetter

from msgspec.structs import replace

from engine.core.market import Market, SymbolMarket
from engine.core.model import HUNDRED, ZERO, AssetClass, Capabilities, Instrument, Order, Side, utc
from engine.core.portfolio import Portfolio
from engine.core.risk.books import Books
from engine.core.risk.limits import PositionLimits, RiskLimits
from engine.core.risk.usage import Usage
from engine.core.sessions import ALWAYS_OPEN, Calendars


class PositionTier:
    """Size, price and time of an order, by the limits of its instrument's asset class. Money is in
    the base currency; a venue can do with an instrument what `able` says."""

    def __init__(
        self,
        market: Market,
        portfolio: Portfolio,
        calendars: Calendars,
        limits: RiskLimits,
        able: Callable[[Instrument], Capabilities],
    ) -> None:
        self._market = market
        self._portfolio = portfolio
        self._money = portfolio.accounts.money
        self._calendars = calendars
        self._able = able
        self.use(limits)

    def use(self, limits: RiskLimits) -> None:
        self._limits = limits
        self._of_class = {asset_class: limits.of(asset_class) for asset_class in AssetClass}

    def of(self, symbol: str) -> PositionLimits:
        """The limits of `symbol`'s asset class; the tightest, where it is not traded here."""
        market = self._market.symbols.get(symbol)
        if market is not None:
            return self._of_class[market.instrument.asset_class]
        return min(self._of_class.values(), key=attrgetter("max_position_size_pct"))

    def budget(self, symbol: str, equity: Decimal, taken: Decimal) -> Decimal:
        """The largest notional that `symbol` may have over all strategies after one more order,
        where so much is `taken`."""
        limits = self._limits
        most = [equity * self.of(symbol).max_position_size_pct / HUNDRED]
        if limits.max_position_notional:
            most.append(limits.max_position_notional)
        if limits.max_order_notional:
            most.append(taken + limits.max_order_notional)
        return min(most)

    def size(self, symbol: str, books: Books) -> list[Usage]:
        """The size of the position in `symbol` over all strategies, open entries included."""
        limits, notional = self._limits, books.notional(symbol)
        share, most = books.share(notional), self.of(symbol).max_position_size_pct
        name = "max_position_size_pct"
        usages = [Usage("position", "position_size", symbol, share, most, "%", setting=name)]
        if limits.max_position_notional:
            name, most = "max_position_notional", limits.max_position_notional
            check, unit = "position_notional", self._money
            usages.append(Usage("position", check, symbol, notional, most, unit, setting=name))
        return usages

    def usages(self, order: Order, books: Books, now: int) -> list[Usage]:
        """Every limit of this tier that `order` must keep; `books` have it in them."""
        market = self._market.symbols[order.symbol]
        worth, mark = self._portfolio.worth(order.symbol), _decimal(market.mark)
        notional = order.quantity * order.reference_price
        used = {
            "price_collar": self._away(order, market),
            "order_notional": None if worth is None else notional * worth,
            "min_price": None if worth is None or mark is None else mark * worth,
        }
        usages = self.size(order.symbol, books)
        usages += [replace(u, used=used[u.check]) for u in self.of_one_order(order.symbol)]
        if order.side is Side.SELL:
            usages.append(_short(market.instrument, self._able(market.instrument)))
        if market.instrument.calendar != ALWAYS_OPEN:
            usages.append(self._hours(market, self._limits.extended_hours, now))
        return usages

    def of_one_order(self, symbol: str) -> list[Usage]:
        """The limits of a single order in `symbol`, without what it would use."""
        limits, own = self._limits, self.of(symbol)
        usages: list[Usage] = []
        if limits.max_order_notional:
            most, name = limits.max_order_notional, "max_order_notional"
            usages.append(_of_order("order_notional", symbol, most, self._money, name))
        collar, name = own.price_collar_pct, "price_collar_pct"
        usages.append(_of_order("price_collar", symbol, collar, "%", name))
        if own.min_price:
            least = _of_order("min_price", symbol, own.min_price, self._money, "min_price")
            usages.append(replace(least, least=True))
        return usages

    def _away(self, order: Order, market: SymbolMarket) -> Decimal | None:
        """How far the order's prices, or what a market order would pay, are from the last price,
        and from the one before it, in percent: a lone print far off is not traded on."""
        asked = [price for price in (order.limit_price, order.stop_price) if price is not None]
        if not asked:
            buys = order.side is Side.BUY
            asked = [_decimal(self._market.ask(order.symbol) if buys else market.mark)]
        bases = [_decimal(market.mark)]
        if isfinite(market.previous):
            bases.append(_decimal(market.previous))
        away = [
            None if price is None or base is None else abs(price - base) / base * HUNDRED
            for price in asked
            for base in bases
        ]
        return None if None in away else max(filter(None, away), default=ZERO)

    def _hours(self, market: SymbolMarket, extended: bool, now: int) -> Usage:
        """Whether the market is open."""
        instrument, calendars = market.instrument, self._calendars
        is_open = market.is_daily or calendars.is_open(instrument.calendar, now, extended)
        note = ""
        if not is_open:
            opens = calendars.next_open(instrument.calendar, now, extended)
            when = f"opens at {utc(opens):%Y-%m-%d %H:%M} UTC" if opens else "has no known session"
            note = f"{instrument.calendar} is closed, and {when}"
        closed = ZERO if is_open else Decimal(1)
        return Usage("position", "market_hours", instrument.symbol, closed, ZERO, "", note=note)


def _of_order(check: str, symbol: str, limit: Decimal, unit: str, setting: str) -> Usage:
    return Usage("position", check, symbol, None, limit, unit, setting=setting)


def _short(instrument: Instrument, able: Capabilities) -> Usage:
    wanted, allowed = Decimal(1), Decimal(instrument.shortable and able.short)
    note = "" if allowed else f"{instrument.symbol} may not be sold short"
    if not able.short:
        note = f"{instrument.venue} sells nothing short"
    return Usage("position", "short", instrument.symbol, wanted, allowed, "", note=note)


def _decimal(value: float) -> Decimal | None:
    return Decimal(repr(value)) if isfinite(value) else None
