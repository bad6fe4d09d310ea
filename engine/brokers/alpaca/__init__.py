"""Alpaca: stocks and crypto, over the Trading API."""

from engine.brokers.alpaca.broker import AlpacaBroker
from engine.brokers.alpaca.login import Login

__all__ = ["AlpacaBroker", "Login"]
