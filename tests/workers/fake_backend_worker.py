"""A worker process with a FAKE backend, for tests of the supervisor alone: it counts instead of thinking.

Run as the real entry point is (`python fake_backend_worker.py --fd N`), it differs from it in nothing
but the backend. The name of the model's file says how it misbehaves; a prompt says what to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Literal

sys.path.append(str(Path(__file__).parents[2]))

from native_host.protocol import errors
from native_host.workers.backends import Cancelled, Progress
from native_host.workers.entry import main
from native_host.workers.messages import (
    EmbedRequest,
    EmbedResult,
    Event,
    Finished,
    GenerateRequest,
    LoadOptions,
    ModelInfo,
    Piece,
    RerankRequest,
    RerankResult,
    Started,
    TemplateRequest,
    Timings,
    TokenInfo,
    Usage,
)


class FakeBackend:
    """Answers a prompt of N words with N pieces, each when the one before has been drained.

    A paused request gets none. The prompt "forever" never ends; "die" kills the process once the request
    has started, "die unbegun" before.
    """

    _held = b""
    _spill_bytes = 0

    def __init__(self) -> None:
        self.info = ModelInfo(
            context_length=64, capabilities=["generate", "tokenize"], spill_bytes=self._spill_bytes
        )
        self._events: list[Event] = []
        self._running: dict[int, int] = {}
        self._paused: set[int] = set()
        self._lock = threading.Lock()
        self._readable, self._writable = os.pipe()

    @classmethod
    def open(cls, path: str, options: LoadOptions, progress: Progress) -> FakeBackend:
        progress(0.5)
        how = Path(path).name
        if how.startswith("holds-"):  # so many MiB
            cls._held = b"x" * (int(how.removeprefix("holds-")) << 20)
        if options.spill_bytes:
            cls._spill_bytes = options.spill_bytes
        if how == "hang":
            threading.Event().wait()
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exit":
            os.write(2, b"last words\n")
            os._exit(3)
        if how == "bad":
            raise errors.invalid_model_file(path, "is bad")
        if how == "fault":
            raise KeyError("a fault of the backend's own")
        if how == "garbage":
            os.write(_socket_fd(), b"\x05\0\0\0[1,2]")
        progress(1.0)
        return cls()

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        if not isinstance(request.prompt, str):
            raise errors.invalid_params("prompt", "the fake backend reads strings only")
        if request.prompt == "die unbegun":
            os.kill(os.getpid(), signal.SIGKILL)
        words = -1 if request.prompt == "forever" else len(request.prompt.split())
        with self._lock:
            self._push(Started(request_id, words, 0, 0.0))
            if request.prompt == "time left":
                self._push(Piece(request_id, f"{request.timeout_s}", [TokenInfo(0)]))
                self._push(_finished(request_id, "timeout" if request.timeout_s == 0 else "stop"))
                return
            self._running[request_id] = words
        if request.prompt == "die":
            os.kill(os.getpid(), signal.SIGKILL)

    def cancel(self, request_id: int) -> None:
        with self._lock:
            if self._running.pop(request_id, None) is not None:
                self._push(_finished(request_id, "cancelled"))

    def pause(self, request_id: int) -> None:
        with self._lock:
            self._paused.add(request_id)

    def resume(self, request_id: int) -> None:
        with self._lock:
            self._paused.discard(request_id)
            os.write(self._writable, b"x")

    def drain(self) -> list[Event]:
        with self._lock:
            os.read(self._readable, 4096)
            events, self._events = self._events, []
            for request_id, left in list(self._running.items()):
                if request_id in self._paused:
                    continue
                if left == 0:
                    del self._running[request_id]
                    self._push(_finished(request_id, "stop"))
                else:
                    self._running[request_id] = left - 1
                    self._push(Piece(request_id, f"{left} ", [TokenInfo(left)]))
            return events

    def _push(self, event: Event) -> None:
        self._events.append(event)
        os.write(self._writable, b"x")

    def fileno(self) -> int:
        return self._readable

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """Each text's length; the text "forever" waits until it is cancelled."""
        _die_if_told(*request.inputs)
        if "forever" in request.inputs:
            while not cancelled():
                time.sleep(0.001)
            raise errors.cancelled()
        return EmbedResult([[float(len(text))] for text in request.inputs], len(request.inputs))

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """A document's score is how often it holds the query."""
        _die_if_told(request.query)
        return RerankResult([float(text.count(request.query)) for text in request.documents], 0)

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        _die_if_told(text)
        return list(text.encode())

    def detokenize(self, tokens: list[int]) -> str:
        text = bytes(tokens).decode()
        _die_if_told(text)
        return text

    def apply_template(self, request: TemplateRequest) -> str:
        _die_if_told(*(message.content for message in request.messages))
        return "".join(message.content for message in request.messages)

    def close(self) -> None:
        os.close(self._writable)


def _die_if_told(*texts: str) -> None:
    """Kill the process where a text is "die", and where one is "die once FILE" and there is such a file,
    which is removed.
    """
    for text in texts:
        if text.startswith("die once "):
            with contextlib.suppress(FileNotFoundError):
                Path(text.removeprefix("die once ")).unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        elif text == "die":
            os.kill(os.getpid(), signal.SIGKILL)


def _finished(request_id: int, reason: Literal["stop", "cancelled", "timeout"]) -> Finished:
    return Finished(request_id, reason, Usage(), Timings(), 0)


def _socket_fd() -> int:
    return int(sys.argv[sys.argv.index("--fd") + 1])


if __name__ == "__main__":
    main(openers={"gguf": FakeBackend.open})
