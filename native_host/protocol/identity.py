"""Who a peer is, as a plain value. The guard decides it; service and transports carry it."""

from __future__ import annotations

from typing import Literal

import msgspec

ALL_SCOPES = frozenset({"infer", "models.read", "models.write", "system"})
"""What may be allowed or not: running models, seeing them, changing what is loaded, facts of the machine."""


class Identity(msgspec.Struct, frozen=True):
    """`kind` says how the peer is known, `name` which one of that kind it is, `scopes` what it may do."""

    kind: Literal["local", "secret", "api_key", "origin"]
    name: str
    scopes: frozenset[str] = ALL_SCOPES

    @property
    def owner(self) -> str:
        """A name that no other peer has: what is kept for this one is kept under it."""
        return f"{self.kind}\0{self.name}"
