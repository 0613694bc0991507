"""Who a peer is, as a plain value. The guard decides it; service and transports carry it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

ALL_SCOPES = frozenset({"infer", "models.read", "models.load", "models.write", "system"})
"""What may be allowed or not: running models, seeing them, loading them, changing which there are and which
stay loaded, facts of the machine.
"""

_INCLUDED_IN = {"models.load": "models.write"}

_AtLeastOne = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much a peer may use: requests in any 60 s, tokens (prompts and answers) in 24 h from the first one,
    requests at once. None: as much as it likes.
    """

    requests_per_minute: _AtLeastOne | None = None
    tokens_per_day: _AtLeastOne | None = None
    concurrent: _AtLeastOne | None = None


class Identity(msgspec.Struct, frozen=True):
    """`kind` says how the peer is known, `name` which one of that kind it is, `scopes` what it may do.

    `model` is what it gets where it names none, `prompt` the named system prompt of its chats. `key` is the
    SHA-256 of the API key that was shown, in hex, and stays in the host: it is neither logged nor sent.
    """

    kind: Literal["local", "secret", "api_key", "origin", "telegram"]
    name: str
    scopes: frozenset[str] = ALL_SCOPES
    quotas: Quotas = Quotas()
    model: str | None = None
    prompt: str | None = None
    key: str = ""

    def may(self, scope: str) -> bool:
        """Whether this peer may use what the scope stands for."""
        return scope in self.scopes or _INCLUDED_IN.get(scope) in self.scopes

    @property
    def owner(self) -> str:
        """A name that no other peer has: what is kept for this one is kept under it."""
        return f"{self.kind}\0{self.name}"
