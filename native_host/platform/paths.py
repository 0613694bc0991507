"""Where files of ours lie on this system. Folders are made by those who write into them, not here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from platformdirs import PlatformDirs

_APP = "native-host"


class NoHomeError(RuntimeError):
    """There is no HOME, and the system knows none for this user; the text says which variable helps."""


def config_dir() -> Path:
    """The user's configuration: `models.json`, keys."""
    return (
        _home_or("XDG_CONFIG_HOME", ".config") if sys.platform == "linux" else Path(_dirs().user_config_dir)
    )


def keys_file() -> Path:
    """The user's API keys, unless a setting names another file."""
    return config_dir() / "keys.json"


def grants_file() -> Path:
    """What browsers' extensions may do."""
    return config_dir() / "grants.json"


def sharing_file() -> Path:
    """Whether hosts that browsers start share a daemon."""
    return config_dir() / "sharing.json"


def data_dir() -> Path:
    """What cannot be made again at once: pulled models."""
    if sys.platform == "linux":
        return _home_or("XDG_DATA_HOME", ".local/share")
    return Path(_dirs().user_data_dir)


def cache_dir() -> Path:
    """What can be made again."""
    return _home_or("XDG_CACHE_HOME", ".cache") if sys.platform == "linux" else Path(_dirs().user_cache_dir)


def log_dir() -> Path:
    """Where the log goes when nobody reads stderr."""
    if sys.platform == "linux":
        return _home_or("XDG_STATE_HOME", ".local/state") / "log"
    return Path(_dirs().user_log_dir)


def runtime_dir() -> Path:
    """For sockets: private to the user, emptied with the session where the system does that."""
    if sys.platform != "linux":
        return Path(_dirs().user_runtime_dir)
    found = os.environ.get("XDG_RUNTIME_DIR")
    if found and Path(found).is_dir():
        return Path(found)
    return cache_dir() / "run"


def default_socket() -> Path:
    """Where `serve` listens and clients look, unless told otherwise."""
    return runtime_dir() / "native-host.sock"


def _home_or(variable: str, fallback: str) -> Path:
    """Linux by hand: platformdirs costs as much start-up time as half of asyncio."""
    return Path(os.environ.get(variable) or _home(variable) / fallback) / _APP


def _home(variable: str) -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise NoHomeError(f"this user has no home folder: set HOME or {variable}") from error


def _dirs() -> PlatformDirs:
    from platformdirs import PlatformDirs

    return PlatformDirs(_APP, appauthor=False)
