"""Structured logs on stderr, and in a rotating file where one is asked for. One JSON object a line.

Members: `ts`, `level`, `event`, then whatever the event has (`request_id`, `connection`, `method`,
`duration_ms`…). Only named fields are written, so that no prompt or output gets in by accident; for the same
reason the text of an exception is left out unless the level is debug, and only its type and its place are
told.

Writing never blocks: a parent that pipes stderr and does not read it would otherwise stop the host. Lines
that find no room are counted, and the next line says how many were lost.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import time
from pathlib import Path
from types import TracebackType

import msgspec

_ROOT = "native_host"
_FILE_BYTES = 4 * 1024 * 1024
_FILES = 3
_PIPE_BUF = 4096
"""A pipe that poll calls writable takes this much without blocking (POSIX PIPE_BUF on Linux)."""


def configure(
    level: str = "info", style: str = "json", file: Path | None = None, descriptor: int = 2
) -> None:
    """Send everything that is logged in this process to `descriptor`, and to `file` if given."""
    formatter = JsonFormatter() if style == "json" else TextFormatter()
    handlers: list[logging.Handler] = [DescriptorHandler(descriptor)]
    if file is not None:
        handlers.append(_rotating(file))
    root = logging.getLogger()
    root.handlers = handlers
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(level.upper())
    for handler in handlers:
        handler.setFormatter(formatter)


class Log:
    """Writes events of one part of the host. `Log("transports").info("connection.opened",
    connection="stdio")`."""

    def __init__(self, part: str) -> None:
        self._logger = logging.getLogger(f"{_ROOT}.{part}")

    def debug(self, event: str, **fields: object) -> None:
        """For those who look for a fault."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """What happens when all is well."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """What an operator may want to change."""
        self._write(logging.WARNING, event, fields)

    def failure(self, event: str, error: BaseException, **fields: object) -> None:
        """An exception that nobody expected: its type and where it came from, never its text (but at
        debug)."""
        fields["error"] = type(error).__name__
        fields["traceback"] = _places(error.__traceback__)
        if self._logger.isEnabledFor(logging.DEBUG):
            fields["error_text"] = str(error)
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields})


def _places(trace: TracebackType | None) -> list[str]:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        encoded = msgspec.json.encode(
            {"ts": _timestamp(record), "level": record.levelname.lower(), **_content(record)}, enc_hook=str
        )
        return encoded.decode()


class TextFormatter(logging.Formatter):
    """A record as one line for a person."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        content = _content(record)
        event = content.pop("event")
        rest = " ".join(f"{name}={_on_one_line(value)}" for name, value in content.items())
        return f"{_timestamp(record)} {record.levelname.lower():7} {event} {rest}".rstrip()


def _on_one_line(value: object) -> str:
    """A peer chooses some values, its own name for one, and must not be able to write lines of its own."""
    text = str(value)
    return text if text.isprintable() else repr(text)


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _content(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, "fields", None)
    if isinstance(fields, dict):
        return {"event": record.msg, **fields}
    found: dict[str, object] = {"event": "message", "logger": record.name, "message": record.getMessage()}
    if record.exc_info and record.exc_info[1] is not None:
        found["error"] = type(record.exc_info[1]).__name__
        found["traceback"] = _places(record.exc_info[2])
    return found


class DescriptorHandler(logging.Handler):
    """Writes lines to a descriptor, or drops them, but never waits for whoever reads it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._may_block = _may_block(descriptor)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        if self._lost:
            line = b'{"event":"log.lost","lines":%d}\n' % self._lost + line
        try:
            written = self._write(line)
        except OSError:
            written = False
        self._lost = 0 if written else self._lost + 1

    def _write(self, line: bytes) -> bool:
        while line:
            if self._may_block and not self._has_room():
                return False
            line = line[os.write(self._descriptor, line[:_PIPE_BUF] if self._may_block else line) :]
        return True

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return any(event & select.POLLOUT for _, event in poll.poll(0))


def _may_block(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and hasattr(select, "poll")


def _rotating(file: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler

    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return RotatingFileHandler(file, maxBytes=_FILE_BYTES, backupCount=_FILES - 1, encoding="utf-8")
