"""One line on a terminal's stderr while a model loads; nothing elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.status import Status
from rich.text import Text

from native_host.cli.output import err
from native_host.client import Progress


class LoadingLine:
    """Give `show` to the client as its progress callback. The line goes at `hide`, or with the context."""

    def __init__(self) -> None:
        self._console = err()
        self._status: Status | None = None

    def show(self, progress: Progress) -> None:
        """Draw how far it is."""
        if not self._console.is_terminal:
            return
        done = "" if progress.fraction is None else f" {progress.fraction:.0%}"
        text = Text(f"{progress.message or progress.stage}{done}", style="dim")
        if self._status is None:
            self._status = self._console.status(text, spinner="dots")
            self._status.start()
        self._status.update(text)

    def hide(self) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __enter__(self) -> LoadingLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.hide()
