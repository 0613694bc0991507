"""Lists of networks, hosts and origins as people write them in settings: separated by commas."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9._-]{0,252}))(?::([0-9]{1,5}))?")
"""A host in small letters, and its port."""

ORIGIN = re.compile(r"([a-z][a-z0-9+.-]{0,31})://([^/?#@\s]{1,300})")
"""A page's origin as browsers send it: scheme and host."""

ANY_ORIGIN = "*"


def parse_networks(text: str) -> list[Network]:
    """Networks and addresses: `10.0.0.0/8, 192.0.2.7, ::1`. Raises ValueError."""
    return [_network(part) for part in _parts(text)]


def parse_hosts(text: str) -> list[str]:
    """Names of hosts, each with a port or without, in small letters. Raises ValueError."""
    found = [part.lower() for part in _parts(text)]
    for host in found:
        if HOST.fullmatch(host) is None:
            raise ValueError(f"{host!r} is no host's name")
    return found


def parse_origins(text: str) -> list[str]:
    """Origins as browsers send them: `https://chat.example.com`, or `*` for all. Raises ValueError."""
    found = _parts(text)
    for origin in found:
        if origin != ANY_ORIGIN and ORIGIN.fullmatch(origin) is None:
            raise ValueError(f"{origin!r} is no origin; write scheme://host, with a port if need be, no path")
    return found


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _network(text: str) -> Network:
    """One that stands for IPv4 addresses written as IPv6 is the IPv4 one."""
    network = ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network
