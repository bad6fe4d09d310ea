"""What a broker's statement and the books do not agree on."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from engine.core.events import (
    AccountStatement,
    CancelOrder,
    Difference,
    Effect,
    ExecutionReport,
    VenueOrder,
)
from engine.core.model import EXTERNAL, ZERO, Order, OrderState, OrderTerms, OrderType
from engine.core.order_graph import may_be_for_more, may_turn_up
from engine.core.order_moves import is_made_here
from engine.core.orders import OrderBook, client_order_id
from engine.core.portfolio import Portfolio
from engine.core.text import clean

S = OrderState

CASH = "cash"
CENT = Decimal("0.01")
"""Cash that differs by no more is the same: venues round."""

AT_REST = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED})
"""States in which nothing is under way: what the venue says of such an order must be the same."""

UNANSWERED = frozenset({S.SUBMITTED, S.IN_DOUBT})


class Books(Struct, frozen=True):
    """Our side. `venues` is the broker of each symbol, `moved` the sequence number and the time at
    the venue of each symbol's last execution."""

    orders: OrderBook
    portfolio: Portfolio
    venues: Mapping[str, str]
    moved: Mapping[str, tuple[int, int]]
    emit: Callable[[Effect], None]

    def by_venue_id(self) -> dict[tuple[str, str], Order]:
        """The orders by their symbols and the ids that their venues gave them: Binance gives the
        same ones in each symbol."""
        orders = self.orders.orders.values()
        return {(o.symbol, o.venue_order_id): o for o in orders if o.venue_order_id}

    def unanswered(self) -> set[str]:
        """The symbols in which an order has no answer: what a venue names may be that one's."""
        return {order.symbol for order in self.orders.open.values() if order.state in UNANSWERED}


class Finding(Struct, frozen=True):
    """A difference. `gap` is what must be the same in a second statement for it to count; `heal` is
    done about it then, and with `pauses` the symbol that it is about is paused. What is `lost` was
    made here, and the database does not know it."""

    difference: Difference
    gap: str
    pauses: bool = True
    heal: Callable[[], object] | None = None
    lost: bool = False


class Comparison:
    """The `findings` by what they are about. `sure` is False where something was left out, because
    it moved since the statement was asked for or because an order there has no answer yet."""

    def __init__(self, books: Books, statement: AccountStatement, asked_seq: int) -> None:
        self._books = books
        self._statement = statement
        self._asked_seq = asked_seq
        self._broker = clean(statement.broker)
        self.findings: dict[str, Finding] = {}
        self.sure = True
        self._unanswered = books.unanswered()
        self._compare_orders()
        self._compare_positions()

    def compare_cash(self) -> None:
        """The cash of the account at this broker, which is in its currency on both sides."""
        theirs, ours = self._statement.cash, self._books.portfolio.cash.get(self._broker)
        if theirs is None or ours is None or not self.sure or abs(theirs - ours) <= CENT:
            return
        what = f"cash is {ours} here and {theirs} at {self._broker}"
        difference = Difference(CASH, "", str(ours), str(theirs), what)
        self._add(CASH, Finding(difference, _gap(theirs, ours)))

    # --- orders ---------------------------------------------------------------------------------

    def _compare_orders(self) -> None:
        orders = self._books.orders
        known = self._books.by_venue_id()
        listed: set[str] = set()
        for venue_order in self._statement.orders:
            theirs = venue_order.order
            symbol, venue_order_id = theirs.symbol, theirs.venue_order_id
            key = key_of(theirs.client_order_id, symbol, venue_order_id)
            ours = orders.orders.get(key) or known.get((symbol, venue_order_id))
            if ours is None:
                self._find_external(key, venue_order)
            elif may_be_for_more(ours) and theirs.quantity > ours.quantity:
                self._find_external(ours.client_order_id, venue_order)
            else:
                listed.add(ours.client_order_id)
                self._compare_order(ours, theirs)
        for order in orders.open.values():
            is_listed = order.client_order_id in listed or order.state not in AT_REST
            if not is_listed and self._books.venues.get(order.symbol) == self._broker:
                self._find_missing(order)

    def _find_external(self, key: str, venue_order: VenueOrder) -> None:
        theirs = venue_order.order
        if theirs.symbol in self._unanswered:  # it may be one of ours
            self.sure = False
            return
        symbol = clean(theirs.symbol)
        lost = is_made_here(theirs.client_order_id)
        whose = "made here, and not in this database" if lost else "not ours"
        what = f"{whose}, and open at {self._broker}: {_told(theirs)} ({key})"
        difference = Difference("order", symbol, "", _told(theirs), what)
        finding = Finding(difference, "open", lost=lost)
        if symbol in self._books.venues:
            adopted = replace(
                theirs,
                client_order_id=key,
                venue_order_id=clean(theirs.venue_order_id),
                state=S.PARTIALLY_FILLED if theirs.filled else S.ACCEPTED,
                reason=clean(theirs.reason),
            )
            finding = replace(finding, heal=lambda: self._books.orders.adopt(adopted))
        self._add(f"order {key}", finding)

    def _compare_order(self, ours: Order, theirs: Order) -> None:
        if ours.updated_ts > self._statement.asked_ts:
            self.sure = False
        elif ours.is_final:
            self._find_undead(ours)
        elif ours.state in AT_REST and theirs.filled > ours.filled:
            here, there = str(ours.filled), str(theirs.filled)
            what = f"{_named(ours)}: {there} filled at {self._broker}, {here} here"
            self._add_asked(ours, Difference("fill", ours.symbol, here, there, what), there)
        elif ours.state in AT_REST and _asked_for(theirs) != _asked_for(ours):
            here, there = _told(ours), _told(theirs)
            what = f"{_named(ours)} is to {there} at {self._broker}"
            self._add_asked(ours, Difference("order", ours.symbol, here, there, what), there)

    def _find_undead(self, order: Order) -> None:
        """One that had ended here works at the venue: it is cancelled there."""
        key, state = order.client_order_id, order.state.replace("_", " ")
        what = f"{_named(order)} is {state} here and open at {self._broker}"
        self._add(
            f"order {key}",
            Finding(
                Difference("order", order.symbol, state, "open", what),
                "open",
                heal=lambda: self._revive(order),
            ),
        )

    def _revive(self, order: Order) -> None:
        if may_turn_up(order):
            self._books.orders.on_report(ExecutionReport(order.client_order_id, S.ACCEPTED))
        else:
            self._books.emit(CancelOrder(order))

    def _find_missing(self, order: Order) -> None:
        if order.updated_ts > self._statement.asked_ts:
            self.sure = False
            return
        state = order.state.replace("_", " ")
        what = f"{_named(order)} is {state} here and not open at {self._broker}"
        difference = Difference("order", order.symbol, state, "", what)
        self._add_asked(order, difference, "not open", pauses=False)

    def _add_asked(
        self, order: Order, difference: Difference, gap: str, *, pauses: bool = True
    ) -> None:
        """A finding that the venue's word on the one order settles."""
        key = order.client_order_id
        self._add(
            f"order {key}", Finding(difference, gap, pauses, lambda: self._books.orders.ask(key))
        )

    # --- positions ------------------------------------------------------------------------------

    def _compare_positions(self) -> None:
        theirs = self._statement.positions
        ours = {
            symbol: ZERO for symbol, venue in self._books.venues.items() if venue == self._broker
        }
        for position in self._books.portfolio.positions.values():
            if position.symbol in ours:
                ours[position.symbol] += position.quantity
        for symbol in ours | theirs:
            here, there = ours.get(symbol, ZERO), theirs.get(symbol, ZERO)
            if here == there:
                continue
            if self._is_moving(symbol):
                self.sure = False
                continue
            name = clean(symbol)
            what = f"{name}: {here} held here, {there} at {self._broker}"
            difference = Difference("position", name, str(here), str(there), what)
            self._add(f"position {name}", Finding(difference, _gap(there, here)))

    def _is_moving(self, symbol: str) -> bool:
        seq, ts = self._books.moved.get(symbol, (0, 0))
        lag = self._books.orders.lag_of(self._broker)
        recent = self._statement.asked_ts - ts < lag
        return symbol in self._unanswered or seq > self._asked_seq or recent

    def _add(self, key: str, finding: Finding) -> None:
        self.findings[key] = finding


def key_of(order_id: str, symbol: str, venue_order_id: str) -> str:
    """The client order id of an order that the venue names; one of our making where it has none."""
    return clean(order_id) or client_order_id(EXTERNAL, clean(symbol), clean(venue_order_id))


def _asked_for(order: Order) -> OrderTerms:
    """Where a trailing stop has got to was not asked for, and only its venue knows."""
    trails = order.type is OrderType.TRAILING_STOP
    return replace(order.terms, stop_price=None) if trails else order.terms


def _gap(theirs: Decimal, ours: Decimal) -> str:
    """The same text for the same number, however many zeros it comes with."""
    return str((theirs - ours).normalize())


def _named(order: Order) -> str:
    return f"{_told(order)} ({order.client_order_id})"


def _told(order: Order) -> str:
    prices = [f" at {p}" for p in (order.limit_price, order.stop_price) if p is not None]
    return f"{order.side} {order.quantity} {clean(order.symbol)}{''.join(prices)}"
