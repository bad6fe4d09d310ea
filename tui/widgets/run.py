"""The panel of the run that is under way."""

from engine.core.model import NANOS
from tui import format
from tui.frame import Frame
from tui.research import Run
from tui.widgets.lines import Line, Lines
from tui.widgets.panel import Panel

_BAR_CELLS = 16


class RunPanel(Panel, Lines):
    """The run that is under way, or how the last one ended."""

    of_now = True
    run: Run | None = None

    def show(self, frame: Frame) -> None:
        run = self.run
        if run is None:
            self.entitle("run", "")
            starts = "{backtest}, {search} and {walk-forward} start a run".format_map(frame.keys)
            self.update([((f"nothing is running: {starts}", "dim"),)])
            return
        cancels = f"{frame.keys['stop-run']} cancels"
        self.entitle("run", "" if run.is_over else f"process {run.pid or format.DASH}, {cancels}")
        self.update([((str(run.request), "text"),), *_progress(run, frame.now)])


def _progress(run: Run, now: float) -> list[Line]:
    match run.state:
        case "failed":
            first, *rest = run.why.splitlines()
            return [(("FAILED ", "down"), (first, "text")), *(((line, "text"),) for line in rest)]
        case "cancelled":
            return [(("CANCELLED", "warn"), (" no report of a run that is not over", "text"))]
        case "done":
            return [(("DONE", "good"), (f" {run.done:,} bars, kept as {run.kept}", "text"))]
        case "starting":
            return [(("starting …", "dim"),)]
        case _:
            share = run.done / run.total if run.total else None
            left = run.remaining(now)
            ends = "" if left is None else f", {format.age(round(left * NANOS))} left"
            told = f" {format.share(share)}{ends}: {run.done:,} of {run.total:,} bars"
            return [((format.bar(share, _BAR_CELLS), "info"), (told, "text"))]
