"""How a host is started as a child: its command, its environment, its descriptors, and its last words.

The child inherits stdin, stdout and stderr as pipes and, where there is a secret, the reading end of one more
pipe; nothing else. The secret never appears among the arguments or in the environment.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECRET_BYTES = (16, 4096)
"""What a host takes; it also drops a line end behind the secret, as editors leave one."""
STDERR_LINES = 20
LONGEST_LINE = 2000


@dataclass(frozen=True)
class Launch:
    """What `subprocess.Popen` is to be given."""

    argv: list[str]
    env: dict[str, str]
    pass_fds: tuple[int, ...]


@contextmanager
def launch(
    command: Sequence[str] | None,
    models: Path | str | None,
    secret: bytes | None,
    env: Mapping[str, str] | None,
) -> Iterator[Launch]:
    """A launch that is valid while the context is open: until the child has its copy of the descriptors."""
    argv = list(command) if command is not None else [sys.executable, "-m", "native_host"]
    merged = {**os.environ, **(env or {})}
    if models is not None:
        merged["MODEL_CONFIG_PATH"] = str(Path(models).absolute())
    if secret is None:
        yield Launch(argv, merged, ())
        return
    if secret.endswith((b"\n", b"\r")) or not SECRET_BYTES[0] <= len(secret) <= SECRET_BYTES[1]:
        raise ValueError(
            f"a secret has {SECRET_BYTES[0]} to {SECRET_BYTES[1]} bytes and does not end with a line"
        )
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(secret)
        merged["NATIVE_HOST_SECRET_FD"] = str(reading)
        yield Launch(argv, merged, (reading,))
    finally:
        os.close(reading)


class LastWords:
    """Keeps the last lines of a host's stderr, and hands each line on as it comes."""

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self._lines: deque[str] = deque(maxlen=STDERR_LINES)
        self._rest = b""
        self._on_line = on_line

    def feed(self, data: bytes) -> None:
        """More of stderr; an empty `data` ends the last line."""
        *lines, rest = (self._rest + data).split(b"\n")
        if rest and (not data or len(rest) > LONGEST_LINE):
            lines, rest = [*lines, rest], b""
        self._rest = rest
        for line in lines:
            self._add(line[:LONGEST_LINE].decode(errors="replace").rstrip())

    def lines(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._lines)

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if self._on_line is not None:
            self._on_line(line)


def obituary(exit_code: int | None) -> str:
    """How a child ended, in words; `exit_code` as `subprocess` gives it."""
    if exit_code is None:
        return "the connection to the host was closed"
    if exit_code < 0:
        return f"the host was killed by signal {-exit_code}"
    return f"the host ended with exit code {exit_code}"
