"""Logs: one JSON object a line, nothing that a prompt could be in, and never a wait."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from native_host.telemetry import logs
from native_host.telemetry.logs import Log


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe for the lines; logging is put back as it was."""
    root, ours = logging.getLogger(), logging.getLogger("native_host")
    before = (root.handlers, root.level, ours.level)
    reading, writing = os.pipe()
    yield reading, writing
    for handler in root.handlers:
        handler.close()
    root.handlers = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    os.close(reading)
    os.close(writing)


def read_lines(reading: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in os.read(reading, 1_000_000).splitlines()]


def test_a_line_is_an_object_with_its_fields(pipe: tuple[int, int]) -> None:
    logs.configure("info", "json", descriptor=pipe[1])
    Log("test").info("request.done", method="ping", duration_ms=1.5, path=Path("/x"))
    Log("test").debug("unseen")
    (line,) = read_lines(pipe[0])
    assert str(line.pop("ts")).endswith("Z")
    assert line == {
        "level": "info",
        "event": "request.done",
        "method": "ping",
        "duration_ms": 1.5,
        "path": "/x",
    }


def fail(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize(("level", "told"), [("info", False), ("debug", True)])
def test_a_failure_tells_where_and_not_what(pipe: tuple[int, int], level: str, told: bool) -> None:
    logs.configure(level, "json", descriptor=pipe[1])
    try:
        fail("a prompt")
    except ValueError as error:
        Log("test").failure("request.failed", error, incident="abc")
    (line,) = read_lines(pipe[0])
    assert line["error"] == "ValueError"
    assert line["incident"] == "abc"
    assert "fail" in str(line["traceback"])
    assert ("a prompt" in json.dumps(line)) == told


def test_text_for_people(pipe: tuple[int, int]) -> None:
    logs.configure("info", "text", descriptor=pipe[1])
    Log("test").warning("socket.refused", uid=5)
    assert os.read(pipe[0], 1000).endswith(b"warning socket.refused uid=5\n")


def test_other_libraries_are_heard_too(pipe: tuple[int, int]) -> None:
    logs.configure("info", "json", descriptor=pipe[1])
    logging.getLogger("asyncio").warning("slow %d", 5)
    (line,) = read_lines(pipe[0])
    assert (line["logger"], line["message"]) == ("asyncio", "slow 5")


def test_a_full_pipe_loses_lines_and_says_so(pipe: tuple[int, int]) -> None:
    logs.configure("info", "json", descriptor=pipe[1])
    log = Log("test")
    for _ in range(2000):
        log.info("x" * 100)
    first = os.read(pipe[0], 1_000_000)
    log.info("last")
    lines = read_lines(pipe[0])
    assert lines[0]["event"] == "log.lost"
    assert int(str(lines[0]["lines"])) + first.count(b"\n") in (2000, 2001)
    assert lines[-1]["event"] == "last"


def test_a_file_beside_it(pipe: tuple[int, int], tmp_path: Path) -> None:
    file = tmp_path / "deep" / "host.log"
    logs.configure("info", "json", file, descriptor=pipe[1])
    Log("test").info("both")
    assert json.loads(file.read_text())["event"] == "both"
    assert read_lines(pipe[0])[0]["event"] == "both"


def test_a_value_cannot_write_a_line_of_its_own() -> None:
    record = logging.LogRecord("native_host.x", logging.INFO, "", 0, "opened", (), None)
    record.fields = {"client": "me\n2026 error forged"}
    assert "\n" not in logs.TextFormatter().format(record)
