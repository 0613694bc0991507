"""Failures whose details are for the log and not for the peer."""

from __future__ import annotations

import secrets
import sys

from native_host.protocol import errors
from native_host.protocol.errors import RpcError


def logged_failure(problem: str) -> RpcError:
    """A request's failure without its details, which go to the log (this process's stderr)."""
    error = errors.internal_error(secrets.token_hex(6))
    sys.stderr.write(f"request failed, incident {error.data['incident']}: {problem}\n")
    sys.stderr.flush()
    return error
