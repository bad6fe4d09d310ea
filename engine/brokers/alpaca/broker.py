"""The adapter of Alpaca."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from engine.brokers.alpaca import answers, library
from engine.brokers.alpaca.answers import Order, Refused, Symbols, read
from engine.brokers.alpaca.fees import CryptoFees
from engine.brokers.alpaca.login import Login
from engine.brokers.base import (
    AccountStatus,
    Balance,
    BaseBroker,
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotPermitted,
    NotSent,
    Room,
)
from engine.brokers.stops import limit_beyond
from engine.brokers.turns import for_a_cancel
from engine.brokers.wanted import if_wanted
from engine.core.events import (
    BrokerChanged,
    CancelRejected,
    Event,
    ExecutionReport,
    ReplaceRejected,
    Restored,
    TradeBusted,
    VenueOrder,
)
from engine.core.model import (
    MINUTE,
    NANOS,
    ORDER_TYPES,
    TIMES_IN_FORCE,
    ZERO,
    AssetClass,
    Capabilities,
    Fill,
    Idempotency,
    Instrument,
    OrderState,
    OrderTerms,
    OrderType,
    Quote,
    Side,
    TimeInForce,
    nanos,
    utc,
)
from engine.core.model import Order as OurOrder
from engine.core.newest import Newest
from engine.core.text import clean
from engine.ops.errors import UserError

if TYPE_CHECKING:
    from engine.brokers.alpaca.events import Events
    from engine.brokers.alpaca.rest import Access, Rest
    from engine.brokers.alpaca.stream import Updates

KNOWN_ORDERS = 10_000
PAGE = 100
FEES_ASKED = 3
FEES_AGAIN_S = 0.5
FEES_LATER_S = 5.0
"""How often it is asked again while it does not tell them."""
HEARD_WITHIN = NANOS
"""What is told here has reached the books."""
TOLD_S = 2.0
"""Within it the stream has told what a statement found out."""
ORDERS_AT_ONCE = 500
STOCKS = Capabilities(
    order_types=ORDER_TYPES,
    times_in_force=TIMES_IN_FORCE,
    replace=True,
    short=True,
    client_order_ids=True,
    # For how long it knows an id after the order's end is written nowhere.
    idempotency=Idempotency.OPEN_ONLY,
    visibility_lag=2 * NANOS,
)
CRYPTO = replace(
    STOCKS,
    order_types=(OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT),
    times_in_force=(TimeInForce.GTC, TimeInForce.IOC),
    fractional=True,
    short=False,
)
OPEN_PAGES = 20
MOMENT = timedelta(microseconds=1)

log = logging.getLogger(__name__)


class AlpacaBroker(BaseBroker):
    """An account at Alpaca.

    A replace makes a new order there. Its client order id tells which intent it is of, so that one
    intent stays one order here, whatever its orders there are called. Where a replace and a partial
    fill cross, the new order would ask for what is filled already once more
    (https://github.com/alpacahq/Alpaca-API/issues/165): an order that has filled something is not
    replaced, and one that filled something meanwhile is cancelled.

    The fee of crypto that is bought is taken of it, and told by what the account holds then
    (`CryptoFees`); where that is known late, the execution is corrected. That of crypto that is
    sold is taken of the money and posted a day later: it is not told, so that the account has less
    cash than the executions make.

    Stocks are traded in whole shares here. Crypto is not sold short, and takes no trailing stop and
    no order for the day or that fills at once or not at all.
    """

    name = "alpaca"
    capabilities = replace(STOCKS, by_class={AssetClass.CRYPTO: CRYPTO})

    def __init__(
        self,
        instruments: Iterable[Instrument],
        login: Login,
        now: Callable[[], int],
        *,
        extended_hours: bool = False,
    ) -> None:
        login.check()
        self._symbols = Symbols(instruments, self.name)
        self.live = login.live
        self._login = login
        self._now = now
        self._extended_hours = extended_hours
        traded = self._symbols.instruments.values()
        self.capabilities = replace(self.capabilities, extended_hours=extended_hours)
        self._access: Access | None = None
        self._updates: Updates | Events | None = None
        self._objection = ""
        self._roots: Newest[str, str] = Newest(KNOWN_ORDERS)
        self._told_roots: Newest[str, str] = Newest(KNOWN_ORDERS)
        self._executions: Newest[str, str] = Newest(KNOWN_ORDERS)
        self._before: dict[str, Decimal] = {}
        self._fees = CryptoFees(i.symbol for i in traded if i.asset_class is AssetClass.CRYPTO)
        self._fees_told = asyncio.Event()
        self._corrected_ts: dict[str, int] = {}

    def restore(self, restored: Restored) -> None:
        self._fees.restore(restored)

    # --- the connection -------------------------------------------------------------------------

    async def connect(self) -> None:
        await self.disconnect()
        library.load()
        from engine.brokers.alpaca.events import Events
        from engine.brokers.alpaca.rest import Access
        from engine.brokers.alpaca.stream import Updates

        self._access = Access(self._login)
        try:
            account = await self._account()
        except NotAuthenticated as error:
            raise UserError(str(error), "Set a key and secret that are valid.") from None
        self._login.check_account(account.account_number)
        self.account_number = clean(account.account_number)
        if self._objection:
            raise NotPermitted(self._objection)
        if self._fees.since is None:
            self._fees.begin(await self.get_positions(), self._now())
        stream = Events if self._login.account_id else Updates
        self._updates = stream(self.name, self._login)
        await self._updates.open()

    async def disconnect(self) -> None:
        updates, self._updates = self._updates, None
        access, self._access = self._access, None
        if updates is not None:
            await updates.end()
        if access is not None:
            access.close()

    async def stream_fills(self) -> AsyncIterator[Event]:
        updates = self._updates
        while updates is not None:
            while self._fees.found:
                yield self._with_its_fee(self._fees.found.popleft())
            self._fees_told.set()
            said = await updates.heard.next(self._fees_wait_s())
            if said is None:
                return
            if isinstance(said, NotSent):
                raise said
            if isinstance(said, BrokerChanged):
                yield replace(said, ts=self._now())
            elif said:
                for event in await self._heard(said):
                    yield event
            elif self._fees.open:
                with suppress(NotSent, InDoubt):
                    await self._look(self._fees.open_since - MINUTE)

    def _fees_wait_s(self) -> float | None:
        """In how many seconds the account is asked for fees that it did not tell at once; None
        where all are known."""
        if not self._fees.open:
            return None
        room = self.room()
        return room.shut_s if room is not None and room.shut_s else FEES_LATER_S

    async def _heard(self, message: dict[str, Any]) -> Sequence[Event]:
        """What an update means; what cannot be read is left to the polls."""
        try:
            update = read(message, answers.Update)
            return await self._meaning(update)
        except (NotSent, InDoubt) as error:
            log.warning("an update of alpaca was not understood: %s", error)
            return ()

    async def _meaning(self, update: answers.Update) -> Sequence[Event]:
        order, ts = update.order, self._now()
        symbol = self._symbols.ours(order.symbol)
        self._learn(order)
        if update.event in ("trade_bust", "trade_correct"):
            self._fees.holds(symbol, update.position_qty)
            return [self._taken_back(update, symbol)]
        fill = answers.fill_of(update, symbol)
        if fill is not None:
            await self._find_fee(fill, update.position_qty)
            fill = self._fees.with_fee(fill)
        if fill is not None and update.execution_id:
            self._executions[update.execution_id] = fill.execution_id
        if update.event in ("replaced", "order_replace_rejected") or (
            update.event == "rejected" and order.replaces is not None
        ):
            # Several orders are one intent: where that stands, all of them say together. That it
            # is filled is told with its executions.
            known = await self._find(order.root)
            return [known] if known is not None and known.state is not OrderState.FILLED else []
        is_one_of_several = order.replaces is not None or order.status == "replaced"
        terms = None if is_one_of_several else answers.terms_of(order, ZERO)
        return [answers.report_of(order, ts, fill, terms)]

    async def _find_fee(self, fill: Fill, held: Decimal | None) -> None:
        """Of an execution after which the account holds `held`. Where that tells no fee, be it that
        another execution is told later, the account is asked for all of them; where it does not
        answer, the execution is told without."""
        fees = self._fees
        fees.note([fill])
        if fees.is_open(fill):
            fees.hear(fill, held)
        for again in range(FEES_ASKED):
            if not fees.is_open(fill):
                return
            if again:
                await asyncio.sleep(FEES_AGAIN_S)
            with suppress(NotSent, InDoubt):
                await self._look(fees.open_since - MINUTE)
                return

    def _with_its_fee(self, fill: Fill) -> TradeBusted:
        """Of an execution that was told without it."""
        key = fill.execution_id
        self._corrected_ts[fill.symbol] = self._now()
        corrected = replace(fill, execution_id=self._fees.booked(key))
        return TradeBusted(key, fill.symbol, corrected, "its fee became known", ts=self._now())

    def _is_of_before_the_fee(self, order: OurOrder) -> bool:
        """Whether a sale was decided on what the books had before the fee of a purchase was known:
        it is of more than the account has, and another one once the books know."""
        fees, symbol = self._fees, order.symbol
        is_known = symbol not in fees.open and all(fill.symbol != symbol for fill in fees.found)
        told_ts = self._corrected_ts.get(symbol, 0) + HEARD_WITHIN
        return order.side is Side.SELL and (not is_known or order.created_ts < told_ts)

    def _taken_back(self, update: answers.Update, symbol: str) -> TradeBusted:
        """The execution that takes its place has its id: what its order had filled tells another
        one."""
        named = update.previous_execution_id or update.execution_id or ""
        key = self._executions.get(named, clean(named))
        booked = self._fees.booked(key)
        corrected = None
        if update.event == "trade_correct":
            corrected = answers.fill_of(replace(update, event="fill"), symbol)
        if corrected is not None:
            corrected = self._fees.with_fee(replace(corrected, execution_id=key))
            corrected = replace(corrected, execution_id=booked)
        reason = clean(update.reason) or update.event.replace("_", " ")
        return TradeBusted(booked, symbol, corrected, reason, ts=self._now())

    # --- orders ---------------------------------------------------------------------------------

    async def submit_order(self, order: OurOrder) -> ExecutionReport:
        if self._objection:
            raise NotPermitted(self._objection)
        trading = self._trading
        fields = self._fields(order)
        try:
            async with self._open.sweep.apart():
                answer = await trading.ask(if_wanted(trading.client.post), "/orders", fields)
        except Refused as error:
            if "client_order_id" in str(error):
                raise InDoubt("alpaca has this client order id: it was accepted earlier") from None
            if "insufficient" in str(error) and self._is_of_before_the_fee(order):
                raise NotSent(f"{error}: a part of what was bought went for its fee") from None
            return ExecutionReport(
                order.client_order_id, OrderState.REJECTED, reason=str(error), ts=self._now()
            )
        accepted = read(answer, Order)
        if accepted.client_order_id != order.client_order_id:
            raise InDoubt("alpaca answered with another order")
        self._learn(accepted)
        report = answers.report_of(accepted, self._now())
        # What it filled at once comes as updates, with the executions.
        is_filled = report.state is OrderState.FILLED
        return replace(report, state=OrderState.ACCEPTED) if is_filled else report

    async def cancel_order(self, order: OurOrder) -> ExecutionReport | CancelRejected:
        """Alpaca only says that it was asked: that the order is cancelled comes as an update."""
        with for_a_cancel():
            return await self._cancel_intent(order)

    async def _cancel_intent(self, order: OurOrder) -> ExecutionReport | CancelRejected:
        key = order.client_order_id
        try:
            sweep = self._open.sweep
            answer = await sweep.cancel(order)
            if answer is None and order.venue_order_id:
                with sweep.alone():
                    answer = await self._cancel(order.venue_order_id)
            if answer is None or isinstance(answer, Refused):
                chain = await self._chain(key, self._cancels)
                if not chain or chain[-1].id == order.venue_order_id:
                    reason = str(answer) if answer else "alpaca does not know the order"
                    return CancelRejected(key, reason, ts=self._now())
                answer = await self._cancel(chain[-1].id)
        except Refused as error:
            answer = error
        if isinstance(answer, Refused):
            return CancelRejected(key, str(answer), ts=self._now())
        return ExecutionReport(key, OrderState.PENDING_CANCEL, answer, ts=self._now())

    async def _cancel(self, order_id: str) -> str | Refused:
        """The id of the order whose cancel was taken."""
        cancels = self._cancels
        try:
            await cancels.ask(cancels.client.cancel_order_by_id, order_id)
        except Refused as error:
            return error
        return order_id

    async def replace_order(
        self, order: OurOrder, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        trading, key = self._trading, order.client_order_id
        chain = await self._chain(key, trading)
        if not chain or not chain[-1].is_working:
            return ReplaceRejected(key, "too late" if chain else "unknown order", ts=self._now())
        former = chain[-1]
        if any(each.filled_qty for each in chain):
            reason = "alpaca would ask for what is filled once more"
            return ReplaceRejected(key, reason, ts=self._now())
        fields = {"client_order_id": former.next_id} | _changes(former, terms)
        if "stop_price" in fields:
            limit_price = self._limit_of_stop(order, terms.stop_price)
            fields |= {} if limit_price is None else {"limit_price": f"{limit_price:f}"}
        try:
            path = f"/orders/{former.id}"
            async with self._open.sweep.apart():
                told = await trading.ask(if_wanted(trading.client.patch), path, fields)
            answer = read(told, Order)
        except Refused as error:
            return ReplaceRejected(key, str(error), ts=self._now())
        self._learn(answer)
        return await self._replaced(former, answer, terms.stop_price)

    async def _replaced(
        self, former: Order, order: Order, asked_stop: Decimal | None
    ) -> ExecutionReport:
        """Where a replace has led. The former order may have filled something after all; then the
        new one asks for too much, and is cancelled before anybody can count on it."""
        trading = self._trading
        try:
            answer = await trading.question(trading.client.get_order_by_id, former.id)
            before = read(answer, Order)
            if before.filled_qty:
                with for_a_cancel():
                    await self._cancel(order.id)
        except NotSent as error:
            raise InDoubt(f"alpaca took the replace; {error}") from None
        terms = answers.terms_of(order, before.filled_qty, asked_stop)
        return answers.report_of(order, self._now(), terms=terms)

    async def get_order(self, order: OurOrder) -> ExecutionReport | None:
        asked_stop = order.pending_stop_price or order.stop_price
        return await self._find(order.client_order_id, asked_stop)

    async def _find(
        self, client_order_id: str, asked_stop: Decimal | None = None
    ) -> ExecutionReport | None:
        chain = await self._chain(client_order_id, self._trading)
        if not chain:
            return None
        last = chain[-1]
        before = sum((each.filled_qty for each in chain[:-1]), ZERO)
        terms = answers.terms_of(last, before, asked_stop)
        report = answers.report_of(last, self._now(), terms=terms)
        if last.status == "replaced":
            return replace(report, state=OrderState.CANCELED, reason="replaced at alpaca by hand")
        if before and last.is_working:
            return replace(report, state=OrderState.PARTIALLY_FILLED)
        return report

    async def _chain(self, client_order_id: str, rest: "Rest") -> list[Order]:
        """The orders of an intent, each the replacement of the one before it; empty where there is
        none. A replacement that was refused, or that somebody else made, does not belong to it."""
        try:
            told_root = self._told_roots.get(client_order_id, client_order_id)
            answer = await rest.ask(rest.client.get_order_by_client_id, told_root)
        except Refused as error:
            if error.status == 404:
                return []
            raise NotSent(f"alpaca: {error}") from None
        chain = [read(answer, Order)]
        while (following := chain[-1].replaced_by) is not None:
            order = read(await rest.question(rest.client.get_order_by_id, following), Order)
            if order.root != client_order_id or order.status == "rejected":
                break
            chain.append(order)
        for order in chain:
            self._learn(order)
        return chain

    def _fields(self, order: OurOrder) -> dict[str, Any]:
        """An order as Alpaca wants it. Numbers are text: the library's own requests would make
        floats of them."""
        fields: dict[str, Any] = {
            "symbol": self._symbols.theirs(order.symbol),
            "side": str(order.side),
            "type": str(order.type),
            "time_in_force": str(order.time_in_force),
            "qty": f"{order.quantity:f}",
            "client_order_id": order.client_order_id,
        }
        if order.limit_price is not None:
            fields["limit_price"] = f"{order.limit_price:f}"
        if order.type is OrderType.TRAILING_STOP and order.trail is not None:
            fields["trail_price"] = f"{order.trail:f}"
        elif order.stop_price is not None:
            fields["stop_price"] = f"{order.stop_price:f}"
            if (limit_price := self._limit_of_stop(order, order.stop_price)) is not None:
                fields |= {"type": str(OrderType.STOP_LIMIT), "limit_price": f"{limit_price:f}"}
        is_limit = order.type is OrderType.LIMIT and order.time_in_force is TimeInForce.DAY
        if self._extended_hours and is_limit:
            fields["extended_hours"] = True
        return fields

    def _limit_of_stop(self, order: OurOrder, stop_price: Decimal | None) -> Decimal | None:
        """The limit with which a stop goes there; None where it goes without."""
        instrument = self._symbols.instruments[order.symbol]
        is_crypto = instrument.asset_class is AssetClass.CRYPTO
        if stop_price is None or order.type is not OrderType.STOP or not is_crypto:
            return None
        return limit_beyond(instrument, order.side, stop_price)

    # --- the account ----------------------------------------------------------------------------

    async def get_open_orders(self) -> Sequence[VenueOrder]:
        """All but those of several legs, which have no symbol: they are options'."""
        orders = await self._orders("open", OPEN_PAGES)
        self._before = {order.id: await self._filled_before(order) for order in orders}
        return [
            answers.venue_order(o, self._symbols.ours(o.symbol), self._before[o.id]) for o in orders
        ]

    async def _filled_before(self, order: Order) -> Decimal:
        """What was filled of the orders that it replaced: asked for once, for they have ended."""
        if order.replaces is None:
            return ZERO
        if (before := self._before.get(order.id)) is not None:
            return before
        chain = await self._chain(order.root, self._trading)
        return sum((each.filled_qty for each in chain if each.id != order.id), ZERO)

    async def get_fills(self, since: int) -> Sequence[Fill]:
        """The fees that became known with them are told before: a statement counts on it."""
        fills = await self._look(since)
        if self._fees.found and self._updates is not None:
            self._fees_told.clear()
            await self._updates.heard.said.put({})
            try:
                async with asyncio.timeout(TOLD_S):
                    await self._fees_told.wait()
            except TimeoutError:
                raise NotSent("alpaca: a fee that became known is not told yet") from None
        return [self._fees.with_fee(fill) for fill in fills]

    async def _look(self, since: int) -> Sequence[Fill]:
        """Executions, and what they cost: they and the positions are two answers, so both are
        asked for once more where they do not fit."""
        fills: Sequence[Fill] = ()
        for _ in range(2):
            fills = await self._fills(since)
            self._fees.note(fills)
            if self._fees.open:
                self._fees.look(await self.get_positions())
            if not self._fees.open:
                break
        return fills

    async def _fills(self, since: int) -> Sequence[Fill]:
        activities = await self._activities(since)
        missing = {a.order_id for a in activities} - self._roots.keys()
        if missing:
            await self._orders("all")
        trading = self._trading
        for order_id in sorted(missing - self._roots.keys()):
            answer = await trading.question(trading.client.get_order_by_id, order_id)
            self._learn(read(answer, Order))
        return [
            answers.fill_of_activity(
                a, self._symbols.ours(a.symbol), self._roots.get(a.order_id, "")
            )
            for a in activities
        ]

    async def get_positions(self) -> Mapping[str, Decimal]:
        trading = self._trading
        answer = await trading.question(trading.client.get_all_positions)
        positions = read(answer, list[answers.Position])
        return {self._symbols.ours(p.symbol): p.signed for p in positions}

    async def get_account_balance(self) -> Balance:
        account = await self._account()
        return Balance(account.cash, account.buying_power, account.daytrade_count)

    async def get_account_status(self) -> AccountStatus:
        account = await self._account()
        return AccountStatus(account.objection, account.pattern_day_trader)

    async def get_time(self) -> int:
        trading = self._trading
        answer = await trading.question(trading.client.get_clock)
        return nanos(read(answer, answers.Clock).timestamp)

    def room(self) -> Room | None:
        return None if self._access is None else self._access.bucket.room()

    async def get_quote(self, symbol: str) -> Quote | None:
        instrument = self._symbols.instruments.get(symbol)
        if instrument is None:
            return None
        access, theirs = self._open, self._symbols.theirs(symbol)
        if instrument.asset_class is AssetClass.CRYPTO:
            path = "/crypto/us/latest/quotes"
            rest, asked = access.crypto, {"symbols": theirs}
        else:
            path = "/stocks/quotes/latest"
            rest, asked = access.stocks, {"symbols": theirs, "feed": self._login.feed}
        answer = await rest.question(rest.client.get, path, asked)
        quotes = read(answer, dict[str, dict[str, answers.RawQuote]]).get("quotes", {})
        raw = quotes.get(theirs)
        return None if raw is None else answers.quote_of(raw, symbol)

    async def _account(self) -> answers.Account:
        """The account; where it may not trade (any more) the connection ends, and is tried anew."""
        trading = self._trading
        try:
            answer = await trading.question(trading.client.get_account)
        except (NotAuthenticated, NotPermitted) as error:
            self._end(error)
            raise
        account = read(answer, answers.Account)
        before, self._objection = self._objection, account.objection
        if self._objection and not before:
            self._end(NotPermitted(self._objection))
        return account

    def _end(self, reason: NotSent) -> None:
        """End the connection, after what the stream has said already."""
        if self._updates is not None:
            self._updates.heard.said.put_nowait(reason)

    async def _orders(self, status: str, pages: int = 1) -> list[Order]:
        """The newest orders with that status (open or all), in so many pages at most. Each has
        those that were submitted before a time, which several may share: so it begins with the last
        one of the page before it."""
        trading = self._trading
        asked = {"status": status, "limit": ORDERS_AT_ONCE, "direction": "desc"}
        found: dict[str, Order] = {}
        for _ in range(pages):
            answer = await trading.question(trading.client.get, "/orders", asked)
            rows = read(answer, list[dict[str, Any]])
            orders = read([r for r in rows if r.get("order_class") != "mleg"], list[Order])
            found |= {order.id: order for order in orders}
            if len(rows) < ORDERS_AT_ONCE:
                break
            last = read(rows[-1].get("submitted_at") or rows[-1].get("created_at"), datetime)
            asked["until"] = (last + MOMENT).isoformat()
        for order in found.values():
            self._learn(order)
        return list(found.values())

    async def _activities(self, since: int) -> list[answers.Activity]:
        trading = self._trading
        asked = {"after": utc(since).isoformat(), "direction": "asc", "page_size": PAGE}
        found: list[answers.Activity] = []
        while True:
            answer = await trading.question(trading.client.get, "/account/activities/FILL", asked)
            page = read(answer, list[answers.Activity])
            found += page
            if len(page) < PAGE:
                return found
            asked["page_token"] = page[-1].id

    # --- asking ---------------------------------------------------------------------------------

    @property
    def _open(self) -> "Access":
        if self._access is None:
            raise NotConnected("not connected to alpaca")
        return self._access

    @property
    def _trading(self) -> "Rest":
        return self._open.trading

    @property
    def _cancels(self) -> "Rest":
        return self._open.cancels

    def _learn(self, order: Order) -> None:
        """Remember which intent an order is of: its executions are told by its own id alone. And
        how Alpaca has that, where it is not as it may be shown."""
        self._roots[order.id] = order.root
        if order.root != order.told_root:
            self._told_roots[order.root] = order.told_root


def _changes(order: Order, terms: OrderTerms) -> dict[str, str]:
    """What of an order is to be changed, as Alpaca wants it. The stop of a trailing stop is the
    venue's."""
    wanted = {
        "qty": (order.qty, terms.quantity),
        "limit_price": (order.limit_price, terms.limit_price),
        "stop_price": (order.stop_price, terms.stop_price),
    }
    if order.type == OrderType.TRAILING_STOP:
        del wanted["stop_price"]
    return {
        name: f"{now:f}"
        for name, (before, now) in wanted.items()
        if now is not None and now != before
    }
