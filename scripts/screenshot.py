"""Takes the README's pictures: runs the demo and a chat in a terminal, and saves what they drew as SVG.

    python scripts/screenshot.py docs/images

Nothing is staged: the text, the figures and the colours are what the programs wrote in this run.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from io import StringIO
from pathlib import Path

import pexpect
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
COLUMNS = 100
ROWS = 60
PATIENCE_S = 120
PROMPT = "› "
FONTS = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"
SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
SVG_FORMAT = SVG_FORMAT.replace("Fira Code, monospace", FONTS)
"""rich's own picture frame without the fonts that it would fetch: the reader's own monospace serves."""


def record_demo() -> str:
    """What the demo draws."""
    child = terminal("-m", "native_host.cli.demo")
    child.expect(pexpect.EOF)
    return str(child.before)


def record_chat() -> str:
    """What a chat of two questions draws, from the first prompt on."""
    child = terminal("-m", "native_host", "chat")
    child.expect_exact(PROMPT)
    drawn = str(child.before) + PROMPT
    for question in ("What is a worker?", "How do I stop an answer?"):
        child.sendline(question)
        child.expect(r"tokens/s[^\n]*\n")
        drawn += str(child.before) + str(child.after)
        child.expect_exact(PROMPT)
        drawn += str(child.before) + PROMPT
    child.close(force=True)
    return drawn


def terminal(*arguments: str) -> pexpect.spawn[str]:
    """A program in a terminal of its own; its stderr, where loading is shown, is not in the picture."""
    quoted = " ".join(f"'{each}'" for each in (sys.executable, *arguments))
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        **({} if "PYTHONPATH" in os.environ else {"PYTHONPATH": str(ROOT)}),
    }
    return pexpect.spawn(
        "/bin/sh",
        ["-c", f"exec {quoted} 2>/dev/null"],
        cwd=str(ROOT),
        env=environment,
        encoding="utf-8",
        dimensions=(ROWS, COLUMNS),
        timeout=PATIENCE_S,
    )


def picture(drawn: str, title: str) -> str:
    """The SVG of a terminal's contents."""
    console = Console(
        record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    lines = re.sub(r"\r+\n", "\n", drawn).strip()  # a terminal's line ends; other returns are redrawings
    console.print(Text.from_ansi(lines))
    return console.export_svg(title=title, code_format=SVG_FORMAT)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where demo.svg and chat.svg go")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, title, drawn in (
        ("demo.svg", "./scripts/demo", record_demo()),
        ("chat.svg", "native-host chat", record_chat()),
    ):
        (folder / name).write_text(picture(drawn, title))
        print(folder / name)


if __name__ == "__main__":
    main()
