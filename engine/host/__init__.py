"""The asyncio host of the machine, and what a running engine does around it."""
