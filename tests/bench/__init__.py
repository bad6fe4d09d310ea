"""Measurements beside the design's figures: `make bench`, or `python -m tests.bench NAME ...`."""
