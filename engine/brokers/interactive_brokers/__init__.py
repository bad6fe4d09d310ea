"""Interactive Brokers, through a TWS or an IB Gateway that a person has logged in to.

ib_async speaks with it over a socket. Its numbers are floats: one that would not be the same on the
wire does not leave.
"""

from engine.brokers.interactive_brokers.broker import InteractiveBrokers
from engine.brokers.interactive_brokers.login import Gateway

__all__ = ["Gateway", "InteractiveBrokers"]
