"""What can go wrong on the client's side of the wire. What a host answers is `protocol.errors.RpcError`."""

from __future__ import annotations


class ClientError(Exception):
    """Base of the errors that the client raises by itself."""


class HostDied(ClientError, ConnectionError):
    """The host, or the connection to it, ended while something was expected of it.

    `exit_code` is the process's (negative: killed by that signal), None where the host is no child of ours;
    `stderr` holds the last lines that the host wrote there.
    """

    def __init__(self, reason: str, exit_code: int | None = None, stderr: tuple[str, ...] = ()) -> None:
        super().__init__(reason if not stderr else "\n  ".join((f"{reason}; its last words:", *stderr)))
        self.reason = reason
        self.exit_code = exit_code
        self.stderr = stderr


class HandshakeError(ClientError, ConnectionError):
    """The two sides do not trust or do not understand each other."""


class HostTimeout(ClientError, TimeoutError):
    """No answer within the `timeout` that the caller gave; the request has been cancelled at the host."""


class BrokenStream(ClientError, ConnectionError):
    """The host sent something that the wire contract rules out: a gap in a stream, a damaged long result."""
