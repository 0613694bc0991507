"""Whether hosts that browsers start share one daemon: what the environment says, else the user's file.

The file is written by `native-host install --daemon`, because a browser passes no settings to the programs
that it starts. It is read without anything that takes long to import.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import msgspec

from native_host.platform import paths

DAEMON_VARIABLE = "NATIVE_HOST_DAEMON"
IDLE_EXIT_VARIABLE = "NATIVE_HOST_IDLE_EXIT"
IDLE_EXIT = "15m"
"""How long a daemon that was started on demand stays with nothing to do, unless something else is said."""

Daemon = Literal["join", "start", "never"]
"""`join` the daemon if one runs; `start` one if none does; `never` use one."""
CHOICES: tuple[Daemon, ...] = get_args(Daemon)


class Sharing(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the file holds. `idle_exit` is what `serve --idle-exit` is given."""

    daemon: Daemon = "join"
    idle_exit: str = IDLE_EXIT


class SharingFileError(ValueError):
    """The file is not what it should be; the text names it."""


def read_sharing(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Sharing:
    """What holds here. Raises SharingFileError; a variable that cannot be used is the settings' business."""
    stored = read_file(file or paths.sharing_file())
    said = environ.get(DAEMON_VARIABLE, "").lower()
    chosen = next((each for each in CHOICES if each == said), stored.daemon)
    idle_exit = environ.get(IDLE_EXIT_VARIABLE) or stored.idle_exit
    return msgspec.structs.replace(stored, daemon=chosen, idle_exit=idle_exit)


def read_file(file: Path) -> Sharing:
    """What the file says; the defaults where there is none. Raises SharingFileError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Sharing)
    except FileNotFoundError:
        return Sharing()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SharingFileError(f"{file}: {error}") from error
