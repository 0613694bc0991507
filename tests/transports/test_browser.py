"""What is taken for a browser's arguments, and what is not."""

from __future__ import annotations

import pytest

from native_host.transports.browser import from_arguments

CHROME = "chrome-extension://abcdefghijklmnopabcdefghijklmnop/"


@pytest.mark.parametrize(
    ("arguments", "origin"),
    [
        ([CHROME], CHROME),
        ([CHROME, "--parent-window=123"], CHROME),
        (["--parent-window=0", CHROME], CHROME),
        (["/home/a/.mozilla/native-messaging-hosts/com.tabagent.host.json", "tab@agent"], "tab@agent"),
        (["/x.json", "{12345678-1234-1234-1234-123456789abc}"], "{12345678-1234-1234-1234-123456789abc}"),
        ([], None),
        (["stdio"], None),
        (["chrome-extension://abc"], None),
        (["models", "list"], None),
        (["/x.json", "not an id"], None),
        (["x.json", "tab@agent"], None),
    ],
)
def test_browsers_arguments(arguments: list[str], origin: str | None) -> None:
    found = from_arguments(arguments)
    assert (found.origin if found else None) == origin
    if found:
        assert found.max_frame_out == 1_048_576
