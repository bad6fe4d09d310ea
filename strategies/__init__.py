"""Strategies, one file each: what has `STRATEGY_NAME` and `STRATEGY_CLASS` is found by itself."""
