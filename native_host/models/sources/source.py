"""What a pull may be asked for: `hf:owner/repo[:quant]`, `file:PATH`, `https://…#sha256=…`."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from native_host.protocol import errors

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})")


class HubSource(msgspec.Struct, frozen=True, tag="hub"):
    """A repository of the hub; `wanted` is a quantization, a format, or a file of it, and None lets us
    choose."""

    repo: str
    wanted: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}" + (f":{self.wanted}" if self.wanted else "")


class FileSource(msgspec.Struct, frozen=True, tag="file"):
    """A file or folder that is on this machine already; it is used where it lies."""

    path: str

    def __str__(self) -> str:
        return f"file:{self.path}"


class WebSource(msgspec.Struct, frozen=True, tag="web"):
    """One file at an address, and the checksum (lower-case hex) that it must have."""

    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.url}#sha256={self.sha256}"

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return Path(unquote(urlsplit(self.url).path)).name


Source = HubSource | FileSource | WebSource
RemoteSource = HubSource | WebSource


def parse_source(text: str) -> Source:
    """Read what a peer wrote. Raises invalid_params with the forms that there are."""
    scheme, _, rest = text.partition(":")
    if scheme == "hf":
        return _hub(text, rest)
    if scheme == "file":
        return _file(rest)
    if scheme in ("https", "http"):
        return _web(text)
    raise _refusal(text, "is none of hf:OWNER/REPO[:QUANT], file:PATH and https://…#sha256=…")


def hub_source(path: str) -> HubSource | None:
    """The repository that a `path` in models.json names: `owner/repo` or `hf:owner/repo[:quant]`."""
    try:
        return _hub(path, path.removeprefix("hf:"))
    except errors.RpcError:
        return None


def _hub(text: str, rest: str) -> HubSource:
    repo, _, wanted = rest.removeprefix("//").partition(":")
    if not _REPO.fullmatch(repo) or ".." in repo:
        raise _refusal(text, "names no repository: write hf:OWNER/REPO or hf:OWNER/REPO:QUANT")
    return HubSource(repo, wanted or None)


def _file(rest: str) -> FileSource:
    path = unquote(urlsplit(f"file:{rest}").path) if rest.startswith("//") else rest
    try:
        whole = Path(path).expanduser()
    except RuntimeError as error:
        raise _refusal(f"file:{rest}", str(error)) from None
    if not path or not whole.is_absolute():
        raise _refusal(f"file:{rest}", "needs an absolute path")
    return FileSource(str(whole))


def _web(text: str) -> WebSource:
    address, _, fragment = text.partition("#")
    stated = _SHA256.fullmatch(fragment)
    if stated is None:
        raise _refusal(text, "needs the file's checksum: add #sha256= and 64 hexadecimal digits")
    source = WebSource(address, stated.group(1).lower())
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise _refusal(text, "only https is taken from other machines")
    if not parts.hostname or source.file_name in ("", ".", ".."):
        raise _refusal(text, "names no file: the address must end in its name")
    return source


def _refusal(text: str, problem: str) -> errors.RpcError:
    return errors.invalid_params("source", f"{text!r} {problem}")
