"""How to get to an account at Interactive Brokers."""

from msgspec import Struct


class Gateway(Struct, frozen=True):
    """A TWS (port 7496, for paper 7497) or an IB Gateway (4001, for paper 4002) that a person has
    logged in to. Each connection has a client id of its own: orders have `client_id`, market data
    the one after it. `account` may be empty where there is one alone; `timeout_s` is for one
    request (seconds)."""

    host: str = "127.0.0.1"
    port: int = 7497
    client_id: int = 1
    account: str = ""
    timeout_s: float = 5.0

    @property
    def data_client_id(self) -> int:
        return self.client_id + 1
