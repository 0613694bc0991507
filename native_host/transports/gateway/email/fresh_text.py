"""What somebody wrote in an e-mail, without the signature and without earlier e-mails below or between."""

from __future__ import annotations

import re

_SIGNATURE = re.compile(r"-- ?")
_DEVICE = re.compile(r"(sent from|envoyé de|gesendet von|enviado desde) my?.{0,60}", re.IGNORECASE)
_OLDER_BELOW = re.compile(
    r"-{3,} ?(original message|original-nachricht|ursprüngliche nachricht|message d'origine"
    r"|forwarded message|mensaje original) ?-{3,}|_{20,}",
    re.IGNORECASE,
)
_OUTLOOK_HEADER = re.compile(r"(from|von|de): .{1,200}", re.IGNORECASE)
_LONGEST_ATTRIBUTION = 400
_ATTRIBUTION = re.compile(
    r".{0,400}(wrote|writes|schrieb|écrit|escribió|scritto|schreef)\b.{0,80}:", re.IGNORECASE
)


def fresh_text(text: str) -> str:
    """The new part of a plain text. All of it where nothing new would be left, as in forwarded e-mails."""
    lines = [line.rstrip() for line in text.splitlines()]
    kept: list[str] = []
    quoting = False
    for line in lines[: _older_begins(lines)]:
        quotes = line.lstrip().startswith(">")
        if not quotes:
            kept.append(line)
        elif not quoting:
            _drop_attribution(kept)
        quoting = quotes
    _drop_signature(kept)
    _drop_attribution(kept)
    found = "\n".join(kept).strip()
    return re.sub(r"\n{3,}", "\n\n", found) or text.strip()


def _older_begins(lines: list[str]) -> int:
    """The number of the line from which on earlier e-mails stand."""
    for number, line in enumerate(lines):
        if _OLDER_BELOW.fullmatch(line.strip()):
            following = next((after for after in lines[number + 1 :] if after.strip()), "")
            if not line.strip().startswith("_") or _OUTLOOK_HEADER.fullmatch(following.strip()):
                return number
    return len(lines)


def _drop_signature(lines: list[str]) -> None:
    for number, line in enumerate(lines):
        if _SIGNATURE.fullmatch(line):
            del lines[number:]
            break
    while lines and (not lines[-1] or _DEVICE.fullmatch(lines[-1])):
        lines.pop()


def _drop_attribution(kept: list[str]) -> None:
    """Who wrote what is quoted next: one line, or two where it was folded."""
    while kept and not kept[-1]:
        kept.pop()
    if len(kept) > 1 and kept[-1].startswith("<") and _attributes(kept[-2:]):
        del kept[-2:]
    elif _attributes(kept[-1:]):
        del kept[-1:]
    elif _attributes(kept[-2:]):
        del kept[-2:]


def _attributes(lines: list[str]) -> bool:
    short = bool(lines) and all(0 < len(line) < _LONGEST_ATTRIBUTION for line in lines)
    return short and _ATTRIBUTION.fullmatch(" ".join(lines)) is not None
