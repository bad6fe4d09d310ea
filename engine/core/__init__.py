"""The machine: pure, deterministic, without I/O, clock or randomness."""
