"""How much to trade: what each method asks for, and what of it the position limit lets be had.

Statistics are float64, money and quantities are Decimal. A method that lacks what it rests on asks
for nothing: unknown means less trading.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from math import isfinite, log, sqrt
from statistics import NormalDist, fmean

from msgspec import Struct

from engine.core.model import DAY, HUNDRED, ZERO, Bar, Instrument, RoundTrip, SizingMethod

HEADROOM = Decimal("0.99")
"""Sized to 99 % of a limit: prices move between the decision and the submit."""
FEWEST_TRIPS = 20
"""Round trips before a Kelly fraction is estimated; till then the smallest order makes a record."""
FEWEST_RETURNS = 20
"""Returns of bars before their volatility is taken for one."""
RECENT_RETURNS = 20
"""Returns of the newest bars, whose volatility is that of now."""
YEAR = Decimal("365.25") * DAY
_STEPS = 40  # of a bisection: to 1e-12
_NORMAL = NormalDist()

Basis = dict[str, float]
"""The numbers that a size rests on, by name."""


_M = SizingMethod
_NUMBERS: dict[SizingMethod, tuple[str, Decimal | None, Decimal]] = {
    _M.FIXED_QUANTITY: ("units of the symbol", None, Decimal(10**12)),
    _M.FIXED_NOTIONAL: ("money", None, Decimal(10**12)),
    _M.FIXED_FRACTION: ("percent of equity", HUNDRED, HUNDRED),
    _M.PERCENT_RISK: ("percent of equity lost at the stop", Decimal(1), HUNDRED),
    _M.KELLY: ("part of the Kelly fraction", Decimal("0.5"), Decimal(1)),
    _M.TARGET_UTILITY: ("equity to be reached", None, Decimal(10**12)),
}
"""What the number of a method is, its default, and the most that it may be."""


class Sizing(Struct, frozen=True):
    """A method and its number; hybrid has none."""

    method: SizingMethod = SizingMethod.FIXED_FRACTION
    number: Decimal = HUNDRED

    @classmethod
    def parse(cls, text: str) -> "Sizing":
        """From `method` or `method:number`. Raises ValueError that says what is wrong, and what
        there is."""
        name, _, given = (part.strip() for part in text.lower().partition(":"))
        try:
            method = SizingMethod(name)
        except ValueError:
            raise ValueError(f"{name or 'nothing'} is none of {', '.join(SizingMethod)}") from None
        if method is SizingMethod.HYBRID:
            if given:
                raise ValueError("hybrid takes no number: SIZING_CALM and SIZING_TURBULENT do")
            return cls(method, ZERO)
        what, default, most = _NUMBERS[method]
        if not given:
            if default is None:
                raise ValueError(f"{method} needs a number, the {what}: write {method}:NUMBER")
            return cls(method, default)
        try:
            number = Decimal(given)
        except InvalidOperation:
            raise ValueError(f"{given} is no number, the {what}") from None
        if not (number.is_finite() and 0 < number <= most):
            raise ValueError(f"the {what} must be above 0 and at most {most:f}")
        return cls(method, number)


class SizingRules(Struct, frozen=True):
    """Which sizing is used: of `strategies` those named there, `common` for the others.

    Hybrid uses `calm`, and `turbulent` where the volatility of the last bars is more than
    `turbulence` times that of all that are kept, or is not known. `deadline` (ns UTC, 0 for none)
    is when a target is to be reached; `kelly_prior` the round trips without an edge that a record
    is mixed with.
    """

    common: Sizing = Sizing()
    strategies: Mapping[str, Sizing] = {}
    calm: Sizing = Sizing()
    turbulent: Sizing = Sizing(SizingMethod.PERCENT_RISK, Decimal("0.5"))
    turbulence: float = 1.5
    deadline: int = 0
    kelly_prior: int = 30

    def of(self, strategy: str) -> Sizing:
        return self.strategies.get(strategy, self.common)


class Circumstances(Struct, frozen=True):
    """What an entry is sized from: the worst `price` that it may come to, its `stop` and the
    `equity`, all in the base currency, as is the smallest order of the `instrument`; the `returns`
    of the strategy's round trips, the symbol's `bars`, the time (ns UTC), and the sizing that the
    signal itself brings, empty for that of the settings."""

    instrument: Instrument
    price: Decimal
    stop: Decimal
    equity: Decimal
    returns: Sequence[float]
    bars: Sequence[Bar]
    now: int
    wish: str = ""


class Sized(Struct, frozen=True):
    """`quantity` is what is to be ordered: the `asked` one, `most` where that is less, in whole
    lots; zero where that is less than the smallest order."""

    method: SizingMethod
    asked: Decimal
    most: Decimal
    quantity: Decimal
    basis: Basis


def sized(rules: SizingRules, strategy: str, c: Circumstances, most: Decimal) -> Sized:
    """The size of an entry of `strategy`, never above `most`."""
    wanted = Sizing.parse(c.wish) if c.wish else rules.of(strategy)
    sizing, regime = _in_force(rules, wanted, c.bars)
    asked, basis = _asked(rules, sizing, c)
    asked = max(asked, ZERO)
    quantity = _orderable(c.instrument, c.price, min(asked, most)) if c.price > 0 else ZERO
    return Sized(sizing.method, asked, most, quantity, basis | regime)


def fixed_fraction(
    instrument: Instrument, price: Decimal, budget: Decimal, taken: Decimal
) -> Decimal:
    """The quantity that brings a symbol's notional to `budget`, of which so much is `taken`.

    Rounded down to the lot; zero where less than the smallest order is left.
    """
    notional = budget * HEADROOM - taken
    if notional <= 0 or price <= 0:
        return ZERO
    return _orderable(instrument, price, notional / price)


def _orderable(instrument: Instrument, price: Decimal, quantity: Decimal) -> Decimal:
    """`quantity` in whole lots; zero where that is less than the smallest order."""
    lots = instrument.quantity(quantity)
    return ZERO if instrument.is_too_small(lots, price) else lots


def smallest_order(instrument: Instrument, price: Decimal) -> Decimal:
    """The fewest whole lots that come to the smallest order's notional and quantity."""
    worth = instrument.min_notional / price if price > 0 else ZERO
    least = instrument.quantity(max(worth, instrument.min_quantity))
    return least + instrument.lot if instrument.is_too_small(least, price) else least


# --- the methods ---------------------------------------------------------------------------------


def percent_risk(equity: Decimal, percent: Decimal, price: Decimal, stop: Decimal) -> Decimal:
    """The quantity of which `percent` of `equity` is lost between `price` and `stop`:
    equity x percent / 100 / (price - stop); zero where the stop is not below the price.

    Source: the percent risk model of V. Tharp, "Trade Your Way to Financial Freedom" (1998).
    Commission and a price that gaps through the stop come on top.
    """
    distance = price - stop
    return max(equity, ZERO) * percent / HUNDRED / distance if distance > 0 else ZERO


def kelly_fraction(returns: Sequence[float], prior: int) -> float:
    """The part of equity in [0, 1] that makes the mean of log(1 + fraction x return) greatest.

    Log utility: J. Kelly, "A New Interpretation of Information Rate", Bell System Technical Journal
    35 (1956); for any distribution of returns E. Thorp, "The Kelly Criterion in Blackjack, Sports
    Betting, and the Stock Market" (2006). It is the root of the concave mean's slope,
    sum(r / (1 + f r)), found by bisection over the record itself.

    A record overstates an edge that was chosen for it, so the mean return is shrunk toward zero by
    H. Bühlmann's credibility estimator ("Experience Rating and Credibility", ASTIN Bulletin 4,
    1967): Z = n / (n + prior), with `prior` round trips' weight on no edge; the spread of the
    returns stays. Zero where no edge is left.
    """
    if not returns:
        return 0.0
    mean = fmean(returns)
    if not mean > 0:
        return 0.0
    shift = mean * prior / (len(returns) + prior)
    shrunk = [value - shift for value in returns]
    worst = min(shrunk)
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if 1 + middle * worst > 0 and sum(r / (1 + middle * r) for r in shrunk) > 0:
            low = middle
        else:
            high = middle
    return low


def target_fraction(wealth: float, target: float, volatility: float, years: float) -> float:
    """The part of `wealth` to hold so that `target` is reached within `years` with the greatest
    probability: phi(z) / (q x volatility x sqrt(years)), with q = wealth / target and
    z = the normal quantile of q.

    Source: S. Browne, "Reaching Goals by a Deadline: Digital Options and Continuous-Time Active
    Portfolio Management", Advances in Applied Probability 31 (1999), of one asset with a positive
    edge and an interest rate of zero: it does not depend on how large the edge is. It grows
    without bound toward the deadline, and the limits cap it. Zero where the target is reached, the
    deadline is over, or the volatility (of a year) is not known.
    """
    if not (0 < wealth < target and volatility > 0 and years > 0):
        return 0.0
    share = wealth / target
    density = _NORMAL.pdf(_NORMAL.inv_cdf(share))
    fraction = density / (share * volatility * sqrt(years))
    return fraction if isfinite(fraction) else 0.0


def volatility(bars: Sequence[Bar]) -> float:
    """Realised volatility of a year: the root of the sum of squared log returns over their time,
    nights and gaps included; 0 where there are too few bars.

    Source: T. Andersen, T. Bollerslev, F. Diebold and P. Labys, "Modeling and Forecasting Realized
    Volatility", Econometrica 71 (2003).
    """
    squares = _squared_returns(bars)
    if len(squares) < FEWEST_RETURNS or bars[-1].ts <= bars[0].ts:
        return 0.0
    return sqrt(sum(squares) * float(YEAR) / (bars[-1].ts - bars[0].ts))


def turbulence(bars: Sequence[Bar]) -> float | None:
    """The volatility of the newest bars as a multiple of that of all; None where it is not known.

    Source: exposure that falls as volatility rises, A. Moreira and T. Muir, "Volatility-Managed
    Portfolios", Journal of Finance 72 (2017).
    """
    squares = _squared_returns(bars)
    if len(squares) < 2 * RECENT_RETURNS or not any(squares):
        return None
    return sqrt(fmean(squares[-RECENT_RETURNS:]) / fmean(squares))


def return_of(trip: RoundTrip) -> float:
    """A round trip's P&L after commissions as a part of what it was opened for."""
    return float(trip.pnl / (trip.quantity * trip.entry_price))


def _squared_returns(bars: Sequence[Bar]) -> list[float]:
    closes = [bar.close for bar in bars]
    return [log(b / a) ** 2 for a, b in pairwise(closes)]


# --- from a method to what it asks for -----------------------------------------------------------


def _in_force(rules: SizingRules, sizing: Sizing, bars: Sequence[Bar]) -> tuple[Sizing, Basis]:
    """The sizing that hybrid comes to in the regime of now; any other is itself."""
    if sizing.method is not SizingMethod.HYBRID:
        return sizing, {}
    ratio = turbulence(bars)
    if ratio is None:
        return rules.turbulent, {}
    return rules.turbulent if ratio > rules.turbulence else rules.calm, {"turbulence": ratio}


def _asked(rules: SizingRules, sizing: Sizing, c: Circumstances) -> tuple[Decimal, Basis]:
    """What a method asks for, in units of the symbol and not rounded, and what that rests on."""
    number = sizing.number
    if c.price <= 0 or c.equity <= 0:
        return ZERO, {"price": float(c.price), "equity": float(c.equity)}
    basis: Basis = {"price": float(c.price)}
    match sizing.method:
        case SizingMethod.FIXED_QUANTITY:
            return number, basis
        case SizingMethod.FIXED_NOTIONAL:
            return number / c.price, basis | {"notional": float(number)}
        case SizingMethod.FIXED_FRACTION:
            return _of_equity(c, number / HUNDRED, basis)
        case SizingMethod.PERCENT_RISK:
            basis |= {"equity": float(c.equity), "risk_pct": float(number), "stop": float(c.stop)}
            return percent_risk(c.equity, number, c.price, c.stop), basis
        case SizingMethod.KELLY:
            return _by_kelly(c, number, rules.kelly_prior, basis)
        case SizingMethod.TARGET_UTILITY:
            return _by_target(c, number, rules.deadline, basis)
        case SizingMethod.HYBRID:
            raise TypeError("hybrid is one of the others by now")


def _of_equity(c: Circumstances, fraction: Decimal, basis: Basis) -> tuple[Decimal, Basis]:
    basis |= {"equity": float(c.equity), "fraction": float(fraction)}
    return c.equity * fraction / c.price, basis


def _by_kelly(c: Circumstances, part: Decimal, prior: int, basis: Basis) -> tuple[Decimal, Basis]:
    basis |= {"trips": len(c.returns), "mean_return": fmean(c.returns) if c.returns else 0.0}
    if len(c.returns) < FEWEST_TRIPS:
        return smallest_order(c.instrument, c.price), basis
    full = kelly_fraction(c.returns, prior)
    basis |= {"kelly": full, "part": float(part)}
    return _of_equity(c, Decimal(repr(full)) * part, basis)


def _by_target(
    c: Circumstances, target: Decimal, deadline: int, basis: Basis
) -> tuple[Decimal, Basis]:
    years, sigma = (deadline - c.now) / float(YEAR), volatility(c.bars)
    basis |= {"target": float(target), "volatility": sigma, "years": years}
    fraction = target_fraction(float(c.equity), float(target), sigma, years)
    return _of_equity(c, Decimal(repr(fraction)), basis)
