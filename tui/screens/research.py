"""Research: backtests, searches and walk-forwards that are started here, and their reports."""

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from tui import commands
from tui.frame import Frame
from tui.reports import Document, Report, Tried, load, load_tried
from tui.research import Request, Run
from tui.screens.panels import PanelScreen
from tui.widgets.line_table import LineTable
from tui.widgets.quotes import with_data_first
from tui.widgets.reports import ReportPanel, Reports
from tui.widgets.run import RunPanel
from tui.widgets.tried import TriedPanel

if TYPE_CHECKING:
    from tui.app import Console


class Research(PanelScreen):
    """A run goes on whatever screen one is on, and ends with the console."""

    CSS_PATH = "research.tcss"
    PANELS: ClassVar = {
        "research": Reports,
        "report": ReportPanel,
        "tried": TriedPanel,
        "run": RunPanel,
    }
    IN_TURN = ("report", "tried")
    BINDINGS: ClassVar = commands.bindings("research")
    _request = Request()
    _symbol = ""
    """That which was selected on the screen before."""

    @property
    def _owner(self) -> "Console":
        return cast("Console", self.app)

    @property
    def _table(self) -> Reports:
        return cast("Reports", self._panels["research"])

    def look_at(self, symbol: str) -> None:
        self._symbol = symbol

    def on_screen_resume(self) -> None:
        self.run_worker(self._load, group="load", exclusive=True)

    def show(self, frame: Frame) -> None:
        cast("RunPanel", self._panels["run"]).run = self._owner.research
        self._compare()
        super().show(frame)

    # --- reports ---------------------------------------------------------------------------------

    async def _load(self, select: str = "") -> None:
        folder = self._owner.reports
        if folder is None:
            return
        self._table.reports = await asyncio.to_thread(load, folder)
        self._table.selected = select or self._table.selected
        self.show(self._take())
        self._look()

    def _compare(self) -> None:
        """The selected report, and beside it the one that was marked, if that is another."""
        found = {report.name: report for report in self._table.reports}
        panel = cast("ReportPanel", self._panels["report"])
        panel.first = self._document(found, str(self._table.selected))
        compared = self._table.compared
        other = compared != self._table.selected
        panel.second = self._document(found, compared) if other else None

    def _look(self) -> None:
        """Read what the selected search or walk-forward tried, which is read of no other."""
        panel, row = cast("TriedPanel", self._panels["tried"]), self._table.selected_row
        kind = row.document.kind if row is not None and row.document is not None else ""
        panel.take(kind, Tried())
        if row is not None and kind not in ("", "backtest"):
            self.run_worker(self._read(row.name, kind), group="tried", exclusive=True)

    async def _read(self, name: str, kind: str) -> None:
        folder = self._owner.reports
        if folder is None:
            return
        tried = await asyncio.to_thread(load_tried, folder / name)
        if self._table.selected == name:
            cast("TriedPanel", self._panels["tried"]).take(kind, tried)
            self.show(self._take())

    @staticmethod
    def _document(found: dict[str, Report], name: str) -> Document | None:
        return found[name].document if name in found else None

    def on_line_table_selected(self, message: LineTable.Selected) -> None:
        if message.table is self._table:
            self._look()
            self.show(self._take())

    def action_compare(self) -> None:
        """Compare other reports with the selected one, or no more."""
        row = self._table.selected_row
        if row is None or row.document is None:
            self.say("select a report to compare with", "warn")
            return
        on = self._table.compared != row.name
        self._table.compared = row.name if on else ""
        self.say("select another report: it is shown beside this one" if on else "compared no more")
        self.show(self._take())

    # --- runs ------------------------------------------------------------------------------------

    def action_run(self, kind: str) -> None:
        """Ask what is to be run."""
        from tui.dialogs.research import ResearchDialog

        app, request = self._owner, self._request
        if app.under_way:
            cancels = f"{self._frame.keys['stop-run']} cancels it"
            self.say(f"a {app.under_way} is running: {cancels}", "warn")
            return
        if not request.strategy:
            request = _proposed(self._frame, self._table.selected_row, self._symbol)
        request = request._replace(kind=kind)
        app.push_screen(ResearchDialog(request, self._start, self._frame, app.clock, app.send))

    def action_stop_run(self) -> None:
        """Cancel the run under way."""
        run = self._owner.research
        if run is None or run.is_over:
            self.say("nothing is running", "warn")
            return
        run.cancel()
        self.show(self._take())

    def _start(self, request: Request) -> Run:
        self._request = request
        self._owner.research = run = Run(request, self._owner.clock)
        self.run_worker(self._carry_out(run), group="run")
        return run

    async def _carry_out(self, run: Run) -> None:
        await run.carry_out()
        if run.state == "done":
            await self._load(run.kept)


def _proposed(frame: Frame, report: Report | None, symbol: str = "") -> Request:
    """What the selected report is of; without one the first strategy that is switched on, or else
    the first, on `symbol` if it trades that, or else on the first of its symbols that has data."""
    if report is not None and report.document is not None:
        return Request(report.document.strategy, ",".join(report.document.symbols))
    snapshot = frame.snapshot
    sound = [row for row in snapshot.strategies if row.state != "broken"] if snapshot else []
    if snapshot is None or not sound:
        return Request()
    row = min(sound, key=lambda row: _SWITCHED_ON.get(row.state, len(_SWITCHED_ON)))
    quoted = [quote.symbol for quote in with_data_first(snapshot.quotes)]
    traded = [name for name in (symbol, *quoted, *row.symbols) if name in row.symbols]
    return Request(row.name, ",".join(traded[:1]))


_SWITCHED_ON = {"on": 0, "paused": 1, "killed": 2}
"""The states of a strategy that somebody switched on, in the order in which they are proposed."""
