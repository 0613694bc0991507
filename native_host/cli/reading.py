"""What a person types: with line editing and a history on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from native_host.platform.paths import log_dir

HISTORY_LINES = 1000
BLOCK = '"""'


def history_file() -> Path:
    """Where the lines of earlier chats are, for the arrow keys; readable by the user alone."""
    return log_dir().parent / "chat_history"


class Reader:
    """Reads one message at a time. A line that ends with a backslash goes on in the next one; lines between
    two that are `\"\"\"` belong together."""

    def __init__(self, prompt: str = "› ", more: str = "… ") -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._prompt = prompt
        self._more = more
        if self.interactive:
            self._remember()

    def read(self) -> str:
        """The next message. Raises EOFError at the end of the input and KeyboardInterrupt for Ctrl-C."""
        line = self._line(self._prompt)
        if line.strip() == BLOCK:
            return self._block()
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._line(self._more))
        return "\n".join(lines)

    def close(self) -> None:
        """Keep the history for the next time."""
        if not self.interactive:
            return
        import readline

        file = history_file()
        with contextlib.suppress(OSError):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.touch(mode=0o600)
            readline.set_history_length(HISTORY_LINES)
            readline.write_history_file(file)
            file.chmod(0o600)

    def _block(self) -> str:
        lines: list[str] = []
        while (line := self._line(self._more)).strip() != BLOCK:
            lines.append(line)
        return "\n".join(lines)

    def _line(self, prompt: str) -> str:
        if self.interactive:
            return input(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n")

    def _remember(self) -> None:
        import readline  # not everywhere, and it prepares the terminal when it is imported

        readline.parse_and_bind("set enable-bracketed-paste on")
        with contextlib.suppress(OSError):
            readline.read_history_file(history_file())
