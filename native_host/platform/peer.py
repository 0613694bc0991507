"""Which user is at the other end of a Unix socket, as the kernel knows it."""

from __future__ import annotations

import socket
import struct
import sys

_LOCAL_PEERCRED = 0x001
"""macOS, `sys/un.h`; its answer is a `struct xucred`: version, uid, …"""


def peer_uid(connected: socket.socket) -> int | None:
    """The user id of the peer, or None where this system does not tell."""
    try:
        if sys.platform == "linux":
            found = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            _, uid, _ = struct.unpack("3i", found)
        elif sys.platform == "darwin":
            _, uid = struct.unpack("II", connected.getsockopt(0, _LOCAL_PEERCRED, 76)[:8])
        else:
            return None
    except OSError:
        return None
    return int(uid)
