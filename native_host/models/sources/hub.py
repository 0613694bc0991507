"""What the hub says of a repository: its files with sizes and checksums, and where each one is fetched.

The only module that knows huggingface_hub, which reads HF_ENDPOINT, HF_HUB_OFFLINE and proxies by itself. Its
own downloads are not used: they begin anew after every break and do not check what arrived.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from native_host.models.sources.checksum import Checksum
from native_host.models.sources.token import hub_token
from native_host.models.sources.trouble import Trouble

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_TIMEOUT_S = 30.0


class HubFile(msgspec.Struct, frozen=True):
    """A file of a repository; sizes in bytes."""

    path: str
    size: int
    checksum: Checksum


class Repository(msgspec.Struct, frozen=True):
    """A repository at one commit."""

    name: str
    commit: str
    files: dict[str, HubFile]


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask."""
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


def look_up(repo: str) -> Repository:
    """The repository's newest commit. Raises Trouble."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        info = HfApi(token=hub_token()).model_info(repo, files_metadata=True, timeout=_TIMEOUT_S)
    except HFValidationError as error:
        raise Trouble(str(error), resumable=False) from error
    except _errors() as error:
        raise _in_words(error, repo) from error
    files = [_file(sibling) for sibling in info.siblings or ()]
    return Repository(repo, _commit(info), {file.path: file for file in files if file is not None})


def address(repository: Repository, path: str) -> str:
    """Where a file is fetched."""
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repository.name, path, revision=repository.commit)


def headers() -> dict[str, str]:
    """Who asks, with the token where there is one."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported, but not by name

    return build_hf_headers(token=hub_token() or False, library_name="native-host")


def _commit(info: ModelInfo) -> str:
    if not info.sha:
        raise Trouble("the hub does not say which commit it shows", resumable=False)
    return info.sha


def _file(sibling: RepoSibling) -> HubFile | None:
    """None for what cannot be checked, or would lie outside of the repository's folder."""
    path = PurePosixPath(sibling.rfilename)
    if path.is_absolute() or ".." in path.parts or "\\" in sibling.rfilename or "\0" in sibling.rfilename:
        return None
    if path.parts[0] == ".native-host":
        return None
    if sibling.lfs is not None:
        return HubFile(sibling.rfilename, sibling.lfs.size, Checksum("sha256", sibling.lfs.sha256.lower()))
    if sibling.size is None or sibling.blob_id is None:
        return None
    return HubFile(sibling.rfilename, sibling.size, Checksum("git", sibling.blob_id.lower()))


def _errors() -> tuple[type[Exception], ...]:
    import httpx2

    return (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL)


def _in_words(error: Exception, repo: str) -> Trouble:
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    known = "HF_TOKEN may not read it" if hub_token() else "it needs a token (set HF_TOKEN)"
    if isinstance(error, OfflineModeIsEnabled):
        return Trouble("HF_HUB_OFFLINE is set, and it is not on this machine", resumable=True)
    if isinstance(error, GatedRepoError):
        return Trouble(
            f"{repo} is gated: accept its terms with your account on its page, and set HF_TOKEN to a token "
            "of that account",
            resumable=False,
        )
    if isinstance(error, DisabledRepoError):
        return Trouble(f"the hub has disabled {repo}", resumable=False)
    if isinstance(error, RepositoryNotFoundError):
        return Trouble(f"there is no repository {repo}, or {known}", resumable=False)
    if isinstance(error, HfHubHTTPError):
        return status_trouble(error.response, repo)
    return Trouble(f"the hub cannot be reached: {error}", resumable=True)


def status_trouble(response: httpx2.Response, what: str) -> Trouble:
    """An HTTP status that is no success, in words."""
    code = response.status_code
    if code == 401:
        return Trouble(f"{what} needs a valid token (401): set HF_TOKEN", resumable=False)
    if code == 403:
        return Trouble(
            f"access to {what} is refused (403): its terms may have to be accepted", resumable=False
        )
    if code in (404, 410):
        return Trouble(f"there is no {what} (404)", resumable=False)
    if code == 429:
        wait = response.headers.get("Retry-After")
        when = f" in {wait} s" if wait and wait.isdigit() else " later"
        return Trouble(f"too many requests (429); try again{when}", resumable=True)
    if code >= 500:
        return Trouble(f"the server has trouble of its own ({code})", resumable=True)
    return Trouble(f"the server refuses {what} ({code})", resumable=False)
