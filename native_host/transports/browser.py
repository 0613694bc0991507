"""What a browser tells a native messaging host by its arguments.

Chromium and its kin: `chrome-extension://ID/`, on Windows also `--parent-window=N`. Firefox: the path of the
host's manifest, then the add-on's id. A local process can say the same, so the origin names an extension and
proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from native_host.protocol.limits import BROWSER_MAX_FRAME_BYTES

ADDON_ID = re.compile(r"[^/\s]*@[^/\s]+|\{[0-9a-fA-F-]{36}\}")
"""`name@place`, or a UUID in braces."""


CHROMIUM_ID = re.compile(r"[a-p]{32}")
CHROMIUM_ORIGIN = re.compile(r"chrome-extension://[a-p]{32}/")


def origin_of(extension: str) -> str | None:
    """The origin of an extension that is named by its id, or by its origin; None for what names none."""
    if CHROMIUM_ID.fullmatch(extension):
        return f"chrome-extension://{extension}/"
    known = CHROMIUM_ORIGIN.fullmatch(extension) or ADDON_ID.fullmatch(extension)
    return extension if known else None


class BrowserParent(Struct, frozen=True):
    """The extension that asked for the host, and the longest frame that its browser takes."""

    origin: str
    max_frame_out: int = BROWSER_MAX_FRAME_BYTES


def from_arguments(arguments: Sequence[str]) -> BrowserParent | None:
    """The browser that gave these arguments (without the program's own name), or None if none would."""
    given = [argument for argument in arguments if not argument.startswith("--parent-window=")]
    if len(given) == 1 and given[0].startswith("chrome-extension://") and given[0].endswith("/"):
        return BrowserParent(given[0])
    if len(given) == 2 and Path(given[0]).is_absolute() and given[0].endswith(".json"):
        return BrowserParent(given[1]) if ADDON_ID.fullmatch(given[1]) else None
    return None
