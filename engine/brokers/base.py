"""What every broker can do."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from engine.core.events import (
    BarClosed,
    CancelRejected,
    Event,
    ExecutionReport,
    QuoteUpdate,
    ReplaceRejected,
    Restored,
    VenueOrder,
)
from engine.core.model import Capabilities, Fill, Order, OrderTerms, Quote
from engine.ops.errors import (
    InDoubt,
    NotAuthenticated,
    NotConnected,
    NotPermitted,
    NotSent,
    RateLimited,
)

__all__ = [
    "AccountStatus",
    "Balance",
    "BaseBroker",
    "InDoubt",
    "NotAuthenticated",
    "NotConnected",
    "NotPermitted",
    "NotSent",
    "RateLimited",
    "Room",
]


class Balance(Struct, frozen=True):
    """Money in the account's currency, and how many day trades the venue counts; None where it does
    not say."""

    cash: Decimal | None = None
    buying_power: Decimal | None = None
    day_trades: int | None = None


class AccountStatus(Struct, frozen=True):
    """What a venue says of the account besides money. `objection` is why no order can be made now,
    empty where one can; `pattern_day_trader` is None where it does not say whether it is one's."""

    objection: str = ""
    pattern_day_trader: bool | None = None


class Room(Struct, frozen=True):
    """How many requests a venue takes now, of `most` at once; none for the next `shut_s` seconds,
    where it said to wait so long. Of the cancels that wait the last leaves in `cancels_s`."""

    left: float
    most: float
    shut_s: float = 0.0
    cancels_s: float = 0.0


class BaseBroker(ABC):
    """An account at a broker, on the engine's loop.

    A request is sent once: a broker never repeats one by itself. What a venue refuses is its
    answer: an order that it rejects comes back as a report. Where there is no answer, NotSent (or
    one of its kinds, which say why) or InDoubt is raised.
    """

    name: str
    capabilities: Capabilities
    live: bool = False
    """Whether its account is a real one."""
    account_number: str = ""
    """What the venue calls the account, from `connect` on; empty where it does not say."""

    tells_all: bool = False
    """Whether it is here, so that no line can lose what it says."""

    @property
    def account_name(self) -> str:
        """What people call the account: its number, or that it is simulated."""
        return self.account_number

    def restore(self, restored: Restored) -> None:  # noqa: B027 - most need nothing of it
        """What the engine knew at the end of its last session; it comes before `connect`."""

    @abstractmethod
    async def connect(self) -> None:
        """Log in. Raises UserError where that needs a person."""

    @abstractmethod
    async def disconnect(self) -> None: ...

    @abstractmethod
    def stream_fills(self) -> AsyncIterator[Event]:
        """What the broker says without being asked, for as long as it is connected: reports of
        orders and their executions, trades that are taken back, and BrokerChanged where its stream
        is lost and comes back; what was missed meanwhile is asked for then."""

    @abstractmethod
    async def get_quote(self, symbol: str) -> Quote | None:
        """The newest quote of `symbol`; None where there is none that can be traded on."""

    @abstractmethod
    async def submit_order(self, order: Order) -> ExecutionReport:
        """Send `order`. Raises NotSent or InDoubt where there is no answer; "duplicate client order
        id" is none: the order was accepted earlier, and is InDoubt until it is asked for."""

    @abstractmethod
    async def cancel_order(self, order: Order) -> ExecutionReport | CancelRejected:
        """Ask for the cancel of `order`. Raises NotSent or InDoubt where there is no answer."""

    async def replace_order(
        self, order: Order, terms: OrderTerms
    ) -> ExecutionReport | ReplaceRejected:
        """Ask for `order` to be given `terms`; only where `capabilities` has `replace`. The answer
        holds the terms that the order has then. Raises NotSent or InDoubt where there is none."""
        raise NotSent(f"{self.name} cannot replace orders")

    @abstractmethod
    async def get_order(self, order: Order) -> ExecutionReport | None:
        """Where the order is and what it asks for, by its client order id; None where the broker
        does not know it. Raises NotSent or InDoubt where there is no answer."""

    @abstractmethod
    async def get_open_orders(self) -> Sequence[VenueOrder]:
        """All open orders of the account, whoever made them. Like every `get_...`, raises NotSent
        or InDoubt where there is no answer."""

    @abstractmethod
    async def get_fills(self, since: int) -> Sequence[Fill]:
        """All executions of the account since `since` (ns UTC), whoever made their orders."""

    @abstractmethod
    async def get_positions(self) -> Mapping[str, Decimal]:
        """The net quantity of each symbol that the account holds."""

    @abstractmethod
    async def get_account_balance(self) -> Balance:
        """Cash and buying power."""

    async def get_account_status(self) -> AccountStatus | None:
        """Whether the account may trade; None where the venue does not say before an order."""
        return None

    async def get_time(self) -> int | None:
        """The venue's time (ns UTC) when it answered; None where it does not tell."""
        return None

    def room(self) -> Room | None:
        """How many requests may leave now; None where the venue has no such limit, or none that is
        counted here."""
        return None

    def on_market(self, event: QuoteUpdate | BarClosed) -> Sequence[Event]:
        """Market data, before the machine sees it, and what the broker says of them at once. A real
        broker has its own, and says nothing."""
        return ()
