"""Shows how far ninja is: one living line on a terminal, a line for every twentieth elsewhere."""

from __future__ import annotations

import re
import sys
from typing import TextIO

STEP = re.compile(r"^\[(\d+)/(\d+)\] (.*)$")
WIDTH = 100


class Progress:
    """Reads ninja's output line by line (with its default status, `[done/all] what`)."""

    def __init__(self, what: str, out: TextIO = sys.stderr) -> None:
        self.what = what
        self.out = out
        self.living = out.isatty()
        self.twentieths = -1

    def line(self, line: str) -> None:
        match = STEP.match(line)
        if match is None:
            return
        done, steps, text = int(match.group(1)), int(match.group(2)), match.group(3)
        if self.living:
            short = f"{self.what} [{done}/{steps}] {text.rsplit('/', 1)[-1]}"[:WIDTH]
            self.out.write(f"\r{short:<{WIDTH}}")
            self.out.flush()
            return
        twentieths = done * 20 // max(steps, 1)
        if twentieths > self.twentieths:
            self.twentieths = twentieths
            self.out.write(f"{self.what}: {100 * done // max(steps, 1)} % ({done} of {steps})\n")
            self.out.flush()

    def finish(self) -> None:
        if self.living:
            self.out.write(f"\r{'':<{WIDTH}}\r")
            self.out.flush()
