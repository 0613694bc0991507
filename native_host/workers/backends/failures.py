"""Failures whose details are for the log and not for the peer, and those that end the worker."""

from __future__ import annotations

import os
import secrets
import sys
from typing import NoReturn

from native_host.protocol import errors
from native_host.protocol.errors import RpcError


def logged_failure(problem: str) -> RpcError:
    """A request's failure without its details, which go to the log (this process's stderr)."""
    error = errors.internal_error(secrets.token_hex(6))
    sys.stderr.write(f"request failed, incident {error.data['incident']}: {problem}\n")
    sys.stderr.flush()
    return error


def give_up(reason: str) -> NoReturn:
    """End this process; the host tells whoever waits, and starts another for whoever comes next."""
    sys.stderr.write(f"the worker gives up: {reason}\n")
    sys.stderr.flush()
    os._exit(os.EX_SOFTWARE)
