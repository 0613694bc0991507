"""The fenced examples of every document."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    file.relative_to(ROOT).as_posix()
    for file in (
        ROOT / "README.md",
        ROOT / "examples" / "README.md",
        ROOT / "benchmarks" / "README.md",
        ROOT / "rust" / "client" / "README.md",
        *ROOT.glob("docs/**/*.md"),
    )
)
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(msgspec.Struct, frozen=True):
    """One example: its language, what stands behind that, and its number in that language there."""

    document: str
    language: str
    label: str
    number: int
    body: str

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.document} {self.language} {self.number}"


def _fences_of(document: str) -> list[Fence]:
    found: list[Fence] = []
    for match in _FENCE.finditer((ROOT / document).read_text(encoding="utf-8")):
        language, _, label = re.sub(r"[ ,]", "\0", match[1].strip(), count=1).partition("\0")
        number = 1 + sum(each.language == language for each in found)
        found.append(Fence(document, language, label, number, match[2]))
    return found


FENCES = [fence for document in DOCUMENTS for fence in _fences_of(document)]


def of_language(*languages: str) -> list[Fence]:
    """The examples in one of these languages."""
    return [fence for fence in FENCES if fence.language in languages]


def commands(document: str) -> list[str]:
    """The lines of a document's shell examples, without comments."""
    lines = [
        line for fence in of_language("sh") if fence.document == document for line in fence.body.splitlines()
    ]
    return [line for line in lines if shlex.split(line, comments=True)]
