"""A bar on a terminal's stderr while a model is fetched; nothing elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.progress import (
    BarColumn,
    DownloadColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from native_host.cli.output import err, without_controls
from native_host.client import Progress


class PullBar:
    """Give `show` to the client as its progress callback. The bar goes with the context."""

    def __init__(self) -> None:
        self._console = err()
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None

    def show(self, progress: Progress) -> None:
        """Draw how far it is."""
        if not self._console.is_terminal:
            return
        text = without_controls(progress.message or progress.stage)
        if self._task is None:
            self._bars.start()
            self._task = self._bars.add_task(text, total=None)
        self._bars.update(
            self._task, description=text, completed=progress.done_bytes or 0, total=progress.total_bytes
        )

    def __enter__(self) -> PullBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()
