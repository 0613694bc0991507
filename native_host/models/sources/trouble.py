"""Why a download cannot go on, before it is known on whose behalf it ran."""

from __future__ import annotations

from native_host.protocol import errors
from native_host.protocol.errors import RpcError


class Trouble(Exception):
    """`resumable`: whether another attempt can go on where this one stopped."""

    def __init__(self, reason: str, resumable: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.resumable = resumable

    def about(self, source: object) -> RpcError:
        """The error for the peer that asked for this source."""
        return errors.download_failed(str(source), self.reason, self.resumable)
