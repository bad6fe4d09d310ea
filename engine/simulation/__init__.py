"""The simulator: whole sessions of the engine from one seed, with every fault that there is.

`laws` says what must hold after every event; the rest makes the market, the venues, the disk, the
operator and the crashes that try to break it.
"""
