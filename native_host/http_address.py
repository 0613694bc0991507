"""Where HTTP is listened for, as people write it: `127.0.0.1:8089`, `[::1]:8089`, `localhost:0`."""

from __future__ import annotations

import msgspec

MAX_PORT = 65535


class HttpAddress(msgspec.Struct, frozen=True):
    """`port` 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Of its root."""
        return f"http://{self}"


def http_address(text: str) -> HttpAddress:
    """Read an address. Raises ValueError."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f'{text!r}: an IPv6 address is written in brackets, like "[::1]:8089"')
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ValueError(f'{text!r} is no HOST:PORT; write it like "127.0.0.1:8089"')
    return HttpAddress(host, int(port))
