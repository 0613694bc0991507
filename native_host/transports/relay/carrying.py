"""Carries bytes between a browser's pipes and the daemon's socket, both ways at once, in one thread.

Each way holds what one read brought, and reads again once that is written: so a side that does not read makes
the other side wait. Nothing is ever written that was not read, except into the introduction.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable

from native_host.platform.parent import Parent
from native_host.transports.relay.introduction import Introduction

_STEP = 64 * 1024
_END_S = 1.0
"""How long what is under way may take to arrive once one side has gone."""
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL


class _Way:
    """One direction. `ended` when nothing more can be read, `broken` when nobody takes what is written."""

    def __init__(self, source: int, target: int, convert: Callable[[bytes], bytes]) -> None:
        self.source, self.target = source, target
        self.ended = False
        self.broken = False
        self._convert = convert
        self._left = memoryview(b"")

    @property
    def empty(self) -> bool:
        """Whether all that was read is written."""
        return not self._left

    def read(self) -> None:
        """Take what there is and pass it on."""
        try:
            data = os.read(self.source, _STEP)
        except BlockingIOError:
            return
        except OSError:  # reset by the daemon's death
            data = b""
        self.ended = not data
        if data:
            self.push(data)

    def push(self, data: bytes) -> None:
        """Pass on what comes from here."""
        self._left = memoryview(self._convert(data))
        self.write()

    def write(self) -> None:
        """Write as much as the target takes."""
        try:
            while self._left:
                self._left = self._left[os.write(self.target, self._left) :]
        except BlockingIOError:
            return
        except OSError:
            self.broken, self._left = True, memoryview(b"")


class Carrier:
    """Carries until one of both sides has gone, or the parent has died."""

    def __init__(
        self, descriptors: tuple[int, int], daemon: socket.socket, introduction: Introduction, parent: Parent
    ) -> None:
        daemon.setblocking(False)
        for descriptor in descriptors:
            os.set_blocking(descriptor, False)
        self._daemon = daemon
        self._introduction = introduction
        self._parent = parent
        self._up = _Way(descriptors[0], daemon.fileno(), introduction.to_daemon)
        self._down = _Way(daemon.fileno(), descriptors[1], self._seen)
        self._deadline: float | None = None
        self._told_end = False

    def run(self) -> None:
        """Carry. Returns when there is nothing more to carry, at most `_END_S` after one side has gone."""
        while not self._over():
            for descriptor, event in self._poll():
                self._serve(descriptor, event)
            self._pass_on_held()
            self._tell_end()

    def _seen(self, data: bytes) -> bytes:
        if not self._introduction.over:
            self._introduction.from_daemon(data)
        return data

    def _over(self) -> bool:
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return late or self._down.broken or (self._down.ended and self._down.empty) or self._parent.dead

    def _poll(self) -> list[tuple[int, int]]:
        poller = select.poll()
        for descriptor, mask in self._wanted().items():
            poller.register(descriptor, mask)
        waits = [self._parent.wait_s] if self._parent.wait_s is not None else []
        if self._deadline is not None:
            waits.append(max(0.0, self._deadline - time.monotonic()))
        return poller.poll(min(waits) * 1000 if waits else None)

    def _wanted(self) -> dict[int, int]:
        """What to wait for. Without a mask a descriptor still tells that its other end is gone."""
        up, down = self._up, self._down
        wanted = {down.target: 0 if down.empty else select.POLLOUT}
        if self._may_read_up():
            wanted[up.source] = select.POLLIN
        elif not up.ended and self._deadline is None:
            wanted[up.source] = 0
        socket_mask = (select.POLLIN if down.empty and not down.ended else 0) | (
            0 if up.empty else select.POLLOUT
        )
        if socket_mask:
            wanted[up.target] = socket_mask
        if self._parent.descriptor is not None:
            wanted[self._parent.descriptor] = select.POLLIN
        return wanted

    def _may_read_up(self) -> bool:
        up = self._up
        return up.empty and not (up.ended or up.broken or self._introduction.waiting)

    def _serve(self, descriptor: int, event: int) -> None:
        up, down = self._up, self._down
        if descriptor == up.source:
            if self._may_read_up():
                up.read()
            elif event & _HUNG_UP:
                self._begin_end()
        elif descriptor == up.target:
            if not up.empty:
                up.write()
            if down.empty and not down.ended:
                down.read()
        elif descriptor == down.target:
            down.write()
            down.broken = down.broken or bool(event & _HUNG_UP)

    def _pass_on_held(self) -> None:
        """What the introduction held back while it waited for the daemon."""
        if self._up.empty and self._introduction.holds:
            self._up.push(b"")

    def _tell_end(self) -> None:
        """Where one side has gone, let the other know, and give what is under way a moment to arrive."""
        if self._up.ended or self._up.broken or self._down.ended:
            self._begin_end()
        if self._up.ended and self._up.empty and not self._introduction.waiting and not self._told_end:
            self._told_end = True
            with contextlib.suppress(OSError):
                self._daemon.shutdown(socket.SHUT_WR)

    def _begin_end(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + _END_S
