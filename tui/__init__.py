"""The operator's console: draws the engine's snapshots and sends it commands."""
