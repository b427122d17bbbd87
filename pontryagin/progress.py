"""What a person sees while a solve runs, on standard error: a table of iterations, or a bar for a batch."""

from __future__ import annotations

from types import TracebackType

from rich import progress
from rich.console import Console
from rich.live import Live
from rich.table import Table

from pontryagin.optim.newton import NewtonInfo
from pontryagin.optim.result import IterationInfo

#: Rows of the table at most; when it is full, every second one goes.
ROWS = 24

#: Columns of the table and their widths: 80 in all.
COLUMNS = {"iteration": 9, "steps": 5, "objective": 14, "residual": 8, "violation": 9, "step": 8, "seconds": 8}

#: Those of Newton's method: what a person looks at who wants to know why it goes slowly. 80 in all.
NEWTON = {"iter": 4, "steps": 5, "objective": 12, "dual": 7, "primal": 7, "complem": 7, "barrier": 7, "step": 7,
          "regular": 7, "seconds": 7}  # fmt: skip


class Progress:
    """A table for a single problem, a bar for a batch. Use as a context; told of grids and iterations by the search."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.rows: list[tuple[int, IterationInfo]] = []
        self.every = 1
        self.steps = 0
        self.last: tuple[int, IterationInfo] | None = None
        self.live: Live | None = None
        self.bar: progress.Progress | None = None
        self.task: progress.TaskID | None = None
        self.batch = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.update(self._table(), refresh=True)
            self.live.stop()
            if not self.console.is_terminal:
                self.console.line()  # rich ends the last line itself on terminals only
        if self.bar:
            self._complete()
            self.bar.stop()

    def grid(self, steps: int, batch: int) -> None:
        """A grid begins."""
        self.steps, self.batch = steps, batch
        if batch > 1:
            if self.bar is None:
                self.bar = progress.Progress(
                    progress.TextColumn("{task.description}"),
                    progress.BarColumn(),
                    progress.MofNCompleteColumn(),
                    progress.TextColumn("{task.fields[note]}"),
                    progress.TimeElapsedColumn(),
                    console=self.console,
                )
                self.bar.start()
            self._complete()
            self.task = self.bar.add_task(f"{steps} steps", total=batch, note="")
        elif self.live is None and batch == 1:
            self.live = Live(self._table(), console=self.console, refresh_per_second=8, transient=False)
            self.live.start()

    def iteration(self, row: IterationInfo) -> None:
        """An iteration is over."""
        if self.bar is not None and self.task is not None:
            note = f"iteration {row.iteration}, residual {row.residual:.1e}"
            self.bar.update(self.task, completed=self.batch - row.running, note=note)
            return
        self.last = (self.steps, row)
        if row.iteration % self.every == 0:
            self.rows.append(self.last)
        if len(self.rows) > ROWS:
            self.every *= 2
            self.rows = [kept for kept in self.rows if kept[1].iteration % self.every == 0]
        if self.live:
            self.live.update(self._table())

    def _complete(self) -> None:
        """The method ends without another iteration: what is left has been given up or is done."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=self.batch)

    def _table(self) -> Table:
        newton = self.last is not None and isinstance(self.last[1], NewtonInfo)
        table = Table(box=None, padding=(0, 1 if newton else 2, 0, 0), header_style="bold")
        for name, width in (NEWTON if newton else COLUMNS).items():
            table.add_column(name, justify="right", min_width=width, no_wrap=True)
        rows = self.rows if self.last is None or self.last in self.rows else [*self.rows, self.last]
        for steps, row in rows:
            numbers = [row.residual, row.violation, row.step]
            if isinstance(row, NewtonInfo):
                numbers[2:2] = [row.complementarity, row.barrier]
                numbers.append(row.regularisation)
            shown = [f"{number:.1e}" if number else "0" for number in numbers]
            table.add_row(str(row.iteration), str(steps), f"{row.objective:.10g}", *shown, f"{row.seconds:.2f}")
        return table
