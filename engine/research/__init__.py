"""Research on recorded data: backtests, their statistics and their reports."""
