"""Panels that stand still for a while, so that a person can read them."""

from tui.frame import Frame

FOR_S = 60.0
"""Seconds after which they go on by themselves: what stands still for long is taken for true."""


class Still:
    """Whether the panels stand still, and since when."""

    def __init__(self) -> None:
        self._since: float | None = None

    def toggle(self, frame: Frame) -> bool:
        """Stand still, or go on; whether they stand still now. An engine that is lost or killed is
        shown as it is."""
        begins = self._since is None and not _needs_eyes(frame)
        self._since = frame.now if begins else None
        return begins

    def end(self) -> None:
        self._since = None

    def see(self, frame: Frame) -> Frame:
        """`frame` with how long they have stood still. They go on after a while, and where the
        engine is to be looked at."""
        age = None if self._since is None else frame.now - self._since
        if age is not None and (age >= FOR_S or _needs_eyes(frame)):
            self.end()
            age = None
        return frame._replace(frozen=age)


def _needs_eyes(frame: Frame) -> bool:
    return (
        frame.lost
        or frame.kill_wait is not None
        or bool(frame.snapshot and frame.snapshot.kill.tripped)
    )
