"""What model files say about themselves, without loading them."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

from native_host.protocol import errors
from native_host.protocol.errors import RpcError


async def inspect_file(path: Path) -> dict[str, Any]:
    """What `tabagent_model.inspect_gguf` says of a file. Raises invalid_model_file."""
    require_file(path)
    return await asyncio.to_thread(_inspect, path)


def _inspect(path: Path) -> dict[str, Any]:
    # The native module is a worker's import, and the host's only once somebody asks for this.
    import tabagent_model

    from native_host.workers.backends.gguf import translated

    with translated(str(path)):
        return dict(tabagent_model.inspect_gguf(str(path)))


class Inspections:
    """Remembers what files say for as long as their size and time of change stay the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], dict[str, Any] | None] = {}

    async def look(self, path: Path) -> dict[str, Any] | None:
        """As `inspect_file`; `None` for a file that is missing or unsound."""
        key = _stamp(path)
        if key is None:
            return None
        if key not in self._known:
            try:
                self._known[key] = await inspect_file(path)
            except RpcError:
                self._known[key] = None
        return self._known[key]


def _stamp(path: Path) -> tuple[str, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_size, status.st_mtime_ns


def size_of(path: Path) -> int | None:
    """Bytes of a file, or of all files directly in a folder; `None` where there is nothing."""
    try:
        if path.is_dir():
            return sum(each.stat().st_size for each in path.iterdir() if each.is_file())
        return path.stat().st_size
    except OSError:
        return None


def require_file(path: Path) -> None:
    """Refuse a path that is no file before anything opens it: opening a pipe could wait for ever.

    Raises invalid_model_file.
    """
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        raise errors.invalid_model_file(str(path), "is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise errors.invalid_model_file(str(path), "is no regular file")


def require_folder(path: Path) -> None:
    """Refuse a path that is no folder. Raises invalid_model_file."""
    if not stat.S_ISDIR(_mode(path)):
        raise errors.invalid_model_file(str(path), "is not a folder; give the folder that holds the model")


def _mode(path: Path) -> int:
    shown = str(path)
    try:
        shown.encode()
    except UnicodeEncodeError:
        raise errors.invalid_model_file(
            shown, "its path is not UTF-8, which messages are written in"
        ) from None
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise errors.invalid_model_file(shown, "there is no such file") from None
    except OSError as error:
        raise errors.invalid_model_file(shown, f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in it
        raise errors.invalid_model_file(shown, f"is no path: {error}") from None
