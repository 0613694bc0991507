"""Be a relay, where there is a daemon to relay to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from types import FrameType

from native_host.platform import paths
from native_host.platform.parent import Parent
from native_host.transports import browser
from native_host.transports.relay import reaching
from native_host.transports.relay.sharing import SharingFileError, read_sharing


def run(descriptors: tuple[int, int], arguments: Sequence[str]) -> int | None:
    """Relay between a browser on `descriptors` and the daemon until one of them goes; the exit code.

    None where this process is to be the host itself: nobody has asked for a daemon and none runs, or it
    cannot be reached or trusted, which is told on stderr. Nothing has been read then.
    """
    found = browser.from_arguments(arguments)
    if found is None:
        return None
    parent = Parent()
    try:
        daemon = _reach(descriptors[0], parent)
    except reaching.BrowserGoneError:
        return 0
    except (reaching.UntrustedError, SharingFileError, paths.NoHomeError, OSError) as error:
        _say(f"no daemon is used: {error}")
        return None
    if daemon is None:
        return None
    from native_host.transports.relay.carrying import Carrier
    from native_host.transports.relay.introduction import Introduction

    with contextlib.suppress(_Ended), daemon:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        Carrier(descriptors, daemon, Introduction(found), parent).run()
    return 0


def _reach(browser_descriptor: int, parent: Parent) -> socket.socket | None:
    sharing = read_sharing()
    if sharing.daemon == "never":
        return None
    path = paths.default_socket()
    daemon = reaching.connect(path)
    if daemon is None and sharing.daemon == "start":
        daemon = reaching.Starter(path, sharing.idle_exit, browser_descriptor, parent).connect()
        if daemon is None:
            _say(f"no daemon comes to listen at {path}")
    return daemon


class _Ended(BaseException):
    """A signal has told this process to end."""


def _end(number: int, frame: FrameType | None) -> None:
    raise _Ended


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"native-host: {text}\n".encode(errors="backslashreplace"))
