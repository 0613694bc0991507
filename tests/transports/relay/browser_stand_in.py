"""A browser's side of a port: starts the host as a browser does, and speaks frames with it by hand."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from native_host.guard import grant_file
from native_host.protocol.frames import encode_frame

ROOT = Path(__file__).parents[3]
ORIGIN = "chrome-extension://abcdefghijklmnopabcdefghijklmnop/"
OTHER_ORIGIN = f"chrome-extension://{'p' * 32}/"
SOCKET = "native-host.sock"


def grants_of(home: Path) -> Path:
    """The file of grants there."""
    return home / ".config" / "native-host" / "grants.json"


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment, with a home and a runtime folder of its own, and both extensions
    granted what installed ones have.
    """
    for origin in (ORIGIN, OTHER_ORIGIN):
        grant_file.grant(grants_of(home), origin)
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TABAGENT_RUNTIME_DIR") if name in os.environ}
    own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": os.pathsep.join(path)}
    return {**kept, **own, **more}


class Port:
    """A port of an extension's. Use it in a `with` block."""

    def __init__(
        self,
        environ: Mapping[str, str],
        origin: str = ORIGIN,
        program: str | None = None,
        **more: Any,  # noqa: ANN401
    ) -> None:
        """`program` is a script to be the host; without one, the package is."""
        command = [sys.executable, *([program] if program else ["-m", "native_host"]), origin]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=dict(environ), bufsize=0, **{**pipes, **more})
        self.notified: list[Any] = []

    def __enter__(self) -> Port:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def write(self, data: bytes) -> None:
        """Bytes, as they are."""
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) or 0 :]

    def say(self, method: str, params: object, id_: object = 1) -> None:
        """Ask."""
        message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        self.write(encode_frame(json.dumps(message).encode()))

    def hear(self) -> Any:  # noqa: ANN401
        """The next frame. Raises EOFError."""
        (length,) = struct.unpack("=I", self._read(4))
        return json.loads(self._read(length))

    def answer(self, id_: object = 1) -> Any:  # noqa: ANN401
        """The answer to a request; what came before it is in `notified`."""
        while True:
            heard = self.hear()
            if heard.get("id") == id_ and "method" not in heard:
                return heard
            self.notified.append(heard)

    def call(self, method: str, params: object, id_: object = 1) -> Any:  # noqa: ANN401
        """Ask and wait for the answer."""
        self.say(method, params, id_)
        return self.answer(id_)

    def open(self, **client: object) -> Any:  # noqa: ANN401
        """Introduce the extension; what the host says about itself."""
        about = {"name": "test", "version": "1", **client}
        return self.call("initialize", {"protocol_version": "1", "client": about}, "init")["result"]

    def close(self) -> int:
        """Close the port, as a browser does first; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None
        return self.process.wait(timeout=60)

    def _read(self, count: int) -> bytes:
        assert self.process.stdout is not None
        found = b""
        while len(found) < count:
            piece = self.process.stdout.read(count - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found
