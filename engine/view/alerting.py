"""The alerts of a session: what went wrong, whether it still is, and who has read it."""

from msgspec.structs import replace

from engine.core import events as e
from engine.core.model import AT_VENUE, FINAL_STATES
from engine.core.text import clean
from engine.view.snapshot import AlertRow
from engine.view.wording import ERROR, Worded

MOST_ALERTS = 200

_KILL, _BREAKER, _DIFFERS = "kill-switch", "circuit-breaker", "reconciliation-"
"""What the last session left has the names of `engine.core.alerts`."""


class Alerts:
    """Follows the facts. Each kind of trouble is one alert, however often it comes back. One that
    was acknowledged is kept while its cause lasts; any other until somebody acknowledges it."""

    def __init__(self) -> None:
        self._rows: dict[str, AlertRow] = {}
        self._brokers: set[str] = set()

    @property
    def rows(self) -> tuple[AlertRow, ...]:
        """The latest first."""
        return tuple(reversed(self._rows.values()))

    def follow(self, fact: e.Event, line: Worded) -> None:
        """Take in a fact, and the line of the log that tells of it."""
        if isinstance(fact, e.BrokerStatusChanged) and fact.broker not in self._brokers:
            self._brokers.add(fact.broker)
            return  # at the start it is still connecting
        if isinstance(fact, e.AlertsAcknowledged):
            self._acknowledge(fact)
        if name := _ended(fact):
            self._end(clean(name))
        if isinstance(fact, e.Reconciled) and all(d.kind == "cash" for d in fact.differences):
            self._end(clean(f"{_DIFFERS}{fact.broker}"))
        if raised := _raised(fact, line[0]):
            name, lasts = raised
            self._raise(clean(name), lasts, fact, line)

    def _raise(self, name: str, lasts: bool, fact: e.Event, line: Worded) -> None:
        level, text = line
        known = self._rows.pop(name, None)
        holds = isinstance(fact, e.AlertRaised)
        if known is None:
            row = AlertRow(name, level, text, fact.ts, fact.ts, 1, lasts, holds)
        elif known.lasts and lasts and not holds:  # the same trouble, told anew
            row = replace(known, text=text)
        else:
            row = replace(
                known,
                level=level,
                text=text,
                ts=fact.ts,
                count=known.count + 1,
                lasts=lasts,
                over=False,
                holds=known.holds or holds,
                acknowledged_by="",
            )
        self._rows[name] = row
        if len(self._rows) > MOST_ALERTS:
            told = (name for name, row in self._rows.items() if not row.holds)
            del self._rows[next(told, next(iter(self._rows)))]

    def _end(self, name: str) -> None:
        row = self._rows.get(name)
        if row is not None and row.acknowledged_by:
            del self._rows[name]
        elif row is not None:
            self._rows[name] = replace(row, lasts=False, over=True)

    def _acknowledge(self, fact: e.AlertsAcknowledged) -> None:
        for name in self._rows.keys() & set(fact.names):
            row = replace(self._rows[name], acknowledged_by=fact.author, holds=False)
            if row.lasts:
                self._rows[name] = row
            else:
                del self._rows[name]


def _raised(fact: e.Event, level: str) -> tuple[str, bool] | None:
    """The name of the alert that `fact` raises, and whether its cause lasts; None where it raises
    none. An error of any other kind is one too."""
    match fact:
        case e.AlertRaised(name=name):
            return name, name in (_KILL, _BREAKER) or name.startswith(_DIFFERS)
        case e.KillSwitchTriggered():
            return _KILL, True
        case e.CircuitBreakerTripped():
            return _BREAKER, True
        case e.PartKilled(part=part):
            return f"killed {part}", True
        case e.BrokerStatusChanged(broker=broker, connected=False):
            return f"broker {broker}", True
        case e.FeedStatusChanged(feed=feed, status="disconnected" | "degraded" | "behind"):
            return f"feed {feed}", True
        case e.StoreStatusChanged(available=False):
            return "store", True
        case e.SymbolPaused(symbol=symbol):
            return f"paused {symbol}", True
        case e.StrategyFailed(strategy=strategy):
            return f"strategy {strategy}", True
        case e.ReconcileFailed(broker=broker):
            return f"reconcile {broker}", True
        case e.ClockOff(offset=offset) if offset:
            return "clock", True
        case e.OrderInDoubt(order=order) | e.OrderOverdue(order=order):
            return f"doubt {order.client_order_id}", True
        case e.OrderRejected(order=order):
            return f"rejected {order.symbol}", False
        case _:
            return (type(fact).__name__, False) if level == ERROR else None


def _ended(fact: e.Event) -> str:
    """The name of the alert whose cause `fact` ends, if there is one; empty where it ends none."""
    match fact:
        case e.KillSwitchRearmed():
            return _KILL
        case e.CircuitBreakerReset():
            return _BREAKER
        case e.PartRearmed(part=part):
            return f"killed {part}"
        case e.BrokerStatusChanged(broker=broker, connected=True):
            return f"broker {broker}"
        case e.FeedStatusChanged(feed=feed):
            return f"feed {feed}"
        case e.StoreStatusChanged(available=True):
            return "store"
        case e.SymbolResumed(symbol=symbol):
            return f"paused {symbol}"
        case e.StrategyToggled(strategy=strategy, enabled=True):
            return f"strategy {strategy}"
        case e.Reconciled(broker=broker):
            return f"reconcile {broker}"
        case e.ClockOff(offset=0):
            return "clock"
        case e.OrderEvent(order=order) if order.state in FINAL_STATES | AT_VENUE:
            return f"doubt {order.client_order_id}"
        case _:
            return ""
