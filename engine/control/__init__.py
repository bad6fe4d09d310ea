"""The Unix socket of a running engine: consoles and commands attach to it.

`protocol` is what is said, `changes` what of a snapshot is sent, `seat` who is in command: none of
them does I/O. `server` is the engine's side, `client` the console's.
"""
