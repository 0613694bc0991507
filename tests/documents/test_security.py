"""What docs/security.md says beside its examples: the worked signature, and names of variables."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from native_host.guard.signatures import signature_of
from native_host.settings import VARIABLES

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_worked_signature() -> None:
    (signed,) = re.findall(r"```text signed\n(.*?)\n```", GUIDE, re.DOTALL)
    secret, body, expected = re.findall(
        r"the secret `(.*?)` and the body `(.*?)`.*gives `([0-9a-f]{64})`", GUIDE, re.DOTALL
    )[0]
    _, timestamp, nonce, method, target, digest = signed.split("\n")
    assert digest == hashlib.sha256(body.encode()).hexdigest()
    assert signature_of(secret.encode(), timestamp, nonce, method, target, body.encode()) == expected


def test_every_variable_that_is_named_there_is_one() -> None:
    from_guard = {
        "NATIVE_HOST_SECRET",
        "NATIVE_HOST_SECRET_FD",
        "NATIVE_HOST_SECRET_FILE",
        "NATIVE_HOST_API_KEY",
    }
    known = {variable for variable, _ in VARIABLES.values()} | from_guard
    named = set(re.findall(r"`([A-Z][A-Z_]{5,})(?:=\w+)?`", GUIDE))
    assert named - known == set()
    assert {"RATE_LIMIT_PER_MINUTE", "API_KEY_HEADER", "NATIVE_HOST_CORS_ORIGINS"} <= named
