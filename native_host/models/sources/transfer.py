"""Fetches one file by HTTP into a part file, goes on where an earlier attempt stopped, and lets nothing pass
that has not the checksum it must have."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from native_host.models.sources.checksum import Checksum, feed
from native_host.models.sources.hub import status_trouble
from native_host.models.sources.trouble import Trouble

if TYPE_CHECKING:
    from hashlib import _Hash

    import httpx2

WAITS_S = (0.25, 0.5, 1.0, 2.0)
"""How long to wait before each further attempt that follows one which brought nothing."""

MAX_ENDINGS = 3
"""How often a server may end in good order before all is there."""

_TIMEOUT_S = 20.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

OnBytes = Callable[[int], None]
"""Gets the number of bytes that the part file holds now."""


class RemoteFile(msgspec.Struct, frozen=True):
    """What is fetched from where. `size` in bytes, None where it is found out by fetching."""

    name: str
    url: str
    checksum: Checksum
    size: int | None = None
    headers: Mapping[str, str] = {}


def fetch(client: httpx2.Client, remote: RemoteFile, part: Path, target: Path, on_bytes: OnBytes) -> None:
    """Have `target` hold the file. The part file stays behind where that fails and can be gone on with.

    Raises Trouble.
    """
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as out:
            _Transfer(client, remote, part, out, on_bytes).run()
        part.replace(target)
    except OSError as error:
        raise _disk_trouble(error, part) from error


class _Transfer:
    """One file on its way into its part file."""

    def __init__(
        self, client: httpx2.Client, remote: RemoteFile, part: Path, out: BinaryIO, on_bytes: OnBytes
    ) -> None:
        self._client = client
        self._remote = remote
        self._part = part
        self._out = out
        self._on_bytes = on_bytes
        self._size = remote.size
        self._have = part.stat().st_size

    def run(self) -> None:
        """Until all is there and right."""
        if self._size is not None and self._have > self._size:
            self._restart()
        hashing = self._hash_of_part()
        self._on_bytes(self._have)
        fruitless = 0
        endings = 0
        while self._size is None or self._have < self._size:
            before = self._have
            try:
                hashing = self._ask(hashing)
                endings += 1
            except _connection_errors() as error:
                fruitless = 0 if self._have > before else fruitless + 1
                if fruitless > len(WAITS_S):
                    raise Trouble(f"the connection broke: {error}", resumable=True) from error
                time.sleep(WAITS_S[max(0, fruitless - 1)])
            if endings > MAX_ENDINGS:
                raise Trouble(f"{self._remote.name} ends before its {self._size} bytes", resumable=False)
        self._out.flush()
        os.fsync(self._out.fileno())
        self._check(hashing)

    def _hash_of_part(self) -> _Hash:
        hashing = self._remote.checksum.begin(self._size or 0)
        feed(hashing, self._part)
        return hashing

    def _ask(self, hashing: _Hash) -> _Hash:
        """One request for what is still missing."""
        headers = {**self._remote.headers, "Accept-Encoding": "identity"}
        if self._have:
            headers["Range"] = f"bytes={self._have}-"
        with self._client.stream("GET", self._remote.url, headers=headers, timeout=_TIMEOUT_S) as response:
            if response.status_code == 416:  # nothing follows what we have: it is all, or not ours
                self._size = self._have if self._size is None else self._size
                return hashing if self._have == self._size else self._restart()
            if response.status_code not in (200, 206):
                trouble = status_trouble(response, self._remote.name)
                if response.status_code >= 500:
                    raise _ServerBusyError(trouble.reason)
                raise trouble
            if self._have and not self._goes_on(response):
                hashing = self._restart()
            self._learn_size(response)
            self._receive(response, hashing)
        return hashing

    def _goes_on(self, response: httpx2.Response) -> bool:
        said = response.headers.get("Content-Range", "")
        return response.status_code == 206 and said.startswith(f"bytes {self._have}-")

    def _learn_size(self, response: httpx2.Response) -> None:
        length = response.headers.get("Content-Length", "")
        if self._size is None and length.isdigit():
            self._size = self._have + int(length)

    def _receive(self, response: httpx2.Response, hashing: _Hash) -> None:
        for chunk in response.iter_bytes():  # as it comes: what waits to fill a chunk is lost in a break
            self._out.write(chunk)
            hashing.update(chunk)
            self._have += len(chunk)
            self._on_bytes(self._have)
            if self._size is not None and self._have > self._size:
                break
        if self._size is None:  # the server did not say how long it is, and it has ended
            self._size = self._have
        self._out.flush()

    def _restart(self) -> _Hash:
        self._out.truncate(0)
        self._have = 0
        return self._remote.checksum.begin(self._size or 0)

    def _check(self, hashing: _Hash) -> None:
        found, wanted = hashing.hexdigest(), self._remote.checksum.hex
        if found == wanted and self._have == self._size:
            return
        self._part.unlink(missing_ok=True)
        raise Trouble(
            f"{self._remote.name} has the wrong checksum: {found} where {wanted} was promised; "
            "what arrived was thrown away",
            resumable=False,
        )


class _ServerBusyError(Exception):
    """An answer that may be a better one in a moment."""


def _connection_errors() -> tuple[type[Exception], ...]:
    import httpx2

    return (httpx2.RequestError, httpx2.InvalidURL, _ServerBusyError)


def _disk_trouble(error: OSError, part: Path) -> Trouble:
    if error.errno in _FULL:
        return Trouble(f"the disk is full ({error.strerror}); what arrived is kept", resumable=True)
    return Trouble(f"{part.parent} cannot be written to: {error.strerror or error}", resumable=False)
