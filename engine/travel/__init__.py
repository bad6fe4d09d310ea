"""Time travel: a session again from its journal, at any moment of it, forwards and backwards.

It happens in a process of its own, so that neither the engine's time nor its memory is used, and
nothing in it can send an order: there is no broker and no inbox of an engine, and the database is
read alone, as any question to the engine reads it.
"""
