"""What the user sees of a build that takes minutes."""

from __future__ import annotations

import io

from runtime_build.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps(count: int) -> list[str]:
    return [
        f"[{done}/{count}] Building CXX object some/folder/file{done}.cpp.o" for done in range(1, count + 1)
    ]


def test_a_log_gets_a_line_for_every_twentieth() -> None:
    out = io.StringIO()
    progress = Progress("Compiling", out)
    for line in steps(200):
        progress.line(line)
    progress.finish()
    lines = out.getvalue().splitlines()
    assert len(lines) == 21
    assert lines[0] == "Compiling: 0 % (1 of 200)"
    assert lines[-1] == "Compiling: 100 % (200 of 200)"


def test_a_terminal_gets_one_living_line() -> None:
    out = Terminal()
    progress = Progress("Compiling", out)
    for line in steps(3):
        progress.line(line)
    assert "\n" not in out.getvalue()
    assert out.getvalue().rsplit("\r", 1)[-1].startswith("Compiling [3/3] file3.cpp.o")
    progress.finish()
    assert out.getvalue().endswith(" \r")


def test_lines_that_are_no_steps_are_passed_over() -> None:
    out = io.StringIO()
    progress = Progress("Compiling", out)
    for line in ["ninja: Entering directory", "warning: [1/x] nothing", "", "[a/b] c"]:
        progress.line(line)
    assert out.getvalue() == ""
