"""Market data: recordings and their replay, and synthetic quotes."""
