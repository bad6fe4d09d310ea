"""Styles of strategies besides the event style: each turns what it is asked into signals."""
