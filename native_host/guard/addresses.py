"""Which addresses may ask: lists of networks that are let in or kept out, and whose word is taken for whom a
proxy speaks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from native_host.network_names import Network

Address = IPv4Address | IPv6Address

CLIENT_PREFIX_V6 = 64
"""One subscriber has that many bits of an IPv6 address to choose from."""


class AddressRefused(ValueError):
    """Whoever asks may not, or cannot be told from what the proxies say; the text says why."""


class AddressRules:
    """`allow`: if there are any, only these; `deny` beats it; `proxies`: whose X-Forwarded-For is
    believed.
    """

    def __init__(
        self,
        allow: Sequence[Network] = (),
        deny: Sequence[Network] = (),
        proxies: Sequence[Network] = (),
    ) -> None:
        self._allow = allow
        self._deny = deny
        self._proxies = proxies

    def client(self, peer: str, forwarded_for: Sequence[str] = ()) -> Address:
        """Whose request this is: the peer's, or the nearest hop before the last trusted proxy.

        `forwarded_for` are the values of all X-Forwarded-For headers, in order. Raises AddressRefused where a
        trusted proxy forwards what is no address.
        """
        address = parse_address(peer)
        hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
        while hops and _within(address, self._proxies):
            address = parse_address(_without_port(hops.pop()))
        return address

    def check(self, address: Address) -> None:
        """Raise AddressRefused unless this address may ask."""
        if _within(address, self._deny):
            raise AddressRefused(f"{address} is on the list of denied addresses")
        if self._allow and not _within(address, self._allow):
            raise AddressRefused(f"{address} is not on the list of allowed addresses")


@functools.lru_cache(maxsize=1024)
def parse_address(text: str) -> Address:
    """An address; an IPv4 one that is written as IPv6 is the IPv4 one. Raises AddressRefused."""
    try:
        return _plain(ip_address(text.partition("%")[0]))
    except ValueError:
        raise AddressRefused(f"{text[:64]!r} is no address") from None


def counted_as(address: Address) -> str:
    """The name under which an address's requests are counted together."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, CLIENT_PREFIX_V6), strict=False))


def is_loopback(address: Address) -> bool:
    """Whether it is this machine itself."""
    return address.is_loopback


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    """Some proxies write `1.2.3.4:567` and `[::1]:80`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
