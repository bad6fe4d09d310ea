"""The local archive of market data: what fetches and imports it, and the commands that do."""
