"""The trading engine: a deterministic core and the adapters around it."""

__version__ = "0.1.0"
