"""Durable state: the schema, the database and the input journal.

The errors live here so that who only waits for them need not import SQLAlchemy.
"""


class StoreUnavailable(Exception):
    """The disk or the database did not do what it was asked; it may do so again later."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DuplicateIntent(Exception):
    """An intent with this client order id was committed before: it must not be sent again (I2)."""

    def __init__(self, client_order_id: str) -> None:
        super().__init__(f"the intent {client_order_id} was committed before")
        self.client_order_id = client_order_id
