"""What docs/browsers.md says of scopes is what the host does."""

from __future__ import annotations

import re

from native_host.guard.grants import DEFAULT_SCOPES
from native_host.protocol.identity import ALL_SCOPES

from .fences import ROOT

GUIDE = (ROOT / "docs" / "browsers.md").read_text(encoding="utf-8")


def test_the_table_has_every_scope_and_the_default() -> None:
    rows = re.findall(r"^\| `([a-z.]+)` \|.*\| (yes|no) \|$", GUIDE, re.MULTILINE)
    assert {scope for scope, _ in rows} == ALL_SCOPES
    assert {scope for scope, default in rows if default == "yes"} == DEFAULT_SCOPES
