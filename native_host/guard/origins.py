"""Whether a request is meant for this host and comes from a page that may ask it: `Host` and `Origin`.

A page of anywhere can make a browser send requests to this machine. It cannot keep the browser from saying
which name the page used for it (`Host`: not ours after DNS rebinding) and where the page is from (`Origin`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from native_host.network_names import HOST, ORIGIN

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})

_LONGEST_ADDRESS = 45
"""Characters; names beyond that are not worth remembering."""


class OriginRefused(ValueError):
    """The request is meant for another host, or comes from a page that may not ask; the text says why."""


class OriginRules:
    """`hosts` are names (with a port or without) beside this machine's own, `origins` pages beside this
    host's. `any_origin` takes pages from everywhere. `bound` is the address that is listened at.
    """

    def __init__(
        self, bound: str, hosts: Sequence[str] = (), origins: Sequence[str] = (), any_origin: bool = False
    ) -> None:
        self._bound = bound.lower().strip("[]")
        self._hosts = {host.lower() for host in hosts}
        self._any_origin = any_origin
        self.origins = frozenset(origins)

    def check_host(self, headers: Sequence[str]) -> str:
        """The host that the request is meant for. Raises OriginRefused unless it is this one."""
        if len(headers) != 1:
            raise OriginRefused("a request has one Host header")
        host = headers[0].lower()
        match = HOST.fullmatch(host)
        if match is None or int(match.group(2) or 0) > 65535:
            raise OriginRefused("the Host header is no host")
        name = match.group(1)
        if not (host in self._hosts or name in self._hosts or self._own(name.strip("[]"))):
            raise OriginRefused(
                f"the Host {name!r} is not this one; the operator allows names by NATIVE_HOST_ALLOWED_HOSTS"
            )
        return host

    def check_origin(self, headers: Sequence[str], host: str, method: str, fetch_site: str | None) -> None:
        """Raise OriginRefused if a browser asks for a page that may not.

        `host` is what `check_host` gave, `fetch_site` the Sec-Fetch-Site header.
        """
        if not headers:
            if fetch_site in ("cross-site", "same-site") and method not in SAFE_METHODS:
                raise OriginRefused("a page of another site may change nothing here")
            return
        if len(headers) != 1:
            raise OriginRefused("a request has one Origin header at most")
        if not self.allows(headers[0], host):
            raise OriginRefused(
                "pages of this origin may not ask; the operator allows origins by NATIVE_HOST_CORS_ORIGINS"
            )

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may ask; `host` is what the request is meant for."""
        if origin in self.origins or (self._any_origin and origin != "null"):
            return True
        match = ORIGIN.fullmatch(origin)
        return match is not None and match.group(1) in ("http", "https") and _same(match.group(2), host)

    def _own(self, name: str) -> bool:
        """This machine's names, and the address that is listened at. Another page's name that was made to
        resolve to here is none of them, since browsers keep the name.
        """
        if name in LOCAL_NAMES:
            return True
        address = _address(name) if len(name) <= _LONGEST_ADDRESS else None
        if address is None:
            return name == self._bound
        if address.is_unspecified:
            return False
        bound = _address(self._bound)
        everywhere = bound is not None and bound.is_unspecified
        return address.is_loopback or name == self._bound or everywhere


@functools.lru_cache(maxsize=1024)
def _address(name: str) -> IPv4Address | IPv6Address | None:
    """The address that a name is, if it is one."""
    try:
        return ip_address(name)
    except ValueError:
        return None


def _same(authority: str, host: str) -> bool:
    """The page's authority and the request's Host. The scheme is not compared: a proxy may speak TLS for us,
    and then leaves the port out of both.
    """
    return authority.lower() == host
