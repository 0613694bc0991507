"""A host, for programs with threads or without: `with Host.spawn() as host: host.generate("…").text`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

from native_host.client import asking
from native_host.client.asking import (
    ChatOptions,
    Conversation,
    Generated,
    GeneratedMany,
    Json,
    LoadOptions,
    MemoryOptions,
    OnProgress,
    Options,
    Prompt,
    Question,
)
from native_host.client.connection import Connection, deadline_after
from native_host.client.handshake import introduce
from native_host.client.reply import Reply
from native_host.client.session import Progress, Session
from native_host.client.spawning import LastWords, launch
from native_host.client.stream import Stream
from native_host.client.wires import ProcessWire, SocketWire, Wire
from native_host.protocol import messages
from native_host.protocol.limits import MAX_FRAME_BYTES

R = TypeVar("R")

START_TIMEOUT_S = 30.0
CLIENT_NAME = "native_host.client"


def ignore_progress(progress: Progress) -> None:
    """What happens to progress that nobody asked for."""


class Host:
    """A connection to a host, safe to share among threads. Make one with `spawn` or `connect`.

    Every method may raise RpcError (the host refuses; see its `kind`), HostDied, BrokenStream and, where a
    `timeout` in seconds is given, HostTimeout. Progress callbacks run in the thread that waits.
    """

    info: messages.InitializeResult
    """What the host said about itself: version, pid, capabilities, limits."""

    def __init__(self, wire: Wire, on_progress: OnProgress, max_frame_in: int) -> None:
        self._connection = Connection(wire, Session(max_frame_in))
        self._on_progress = on_progress

    @classmethod
    def spawn(
        cls,
        command: Sequence[str] | None = None,
        *,
        models: Path | str | None = None,
        secret: bytes | None = None,
        api_key: str | None = None,
        env: Mapping[str, str] | None = None,
        name: str = CLIENT_NAME,
        timeout: float | None = START_TIMEOUT_S,
        on_progress: OnProgress = ignore_progress,
        on_log: Callable[[str], None] | None = None,
        max_frame_in: int = MAX_FRAME_BYTES,
    ) -> Self:
        """Start a host as a child of this process; `close`, the end of the `with`, or our own end, ends it.

        `command` is this Python's own host unless given; `models` a models.json; `env` adds to this process's
        environment. `secret` reaches the child through a pipe of its own, and the child must prove that it
        has it. `on_log` gets every line of the child's stderr, on a thread of its own. `timeout` is for the
        handshake.
        """
        with launch(command, models, secret, env) as started:
            wire = ProcessWire(started, LastWords(on_log))
        return cls(wire, on_progress, max_frame_in)._introduced(name, max_frame_in, secret, api_key, timeout)

    @classmethod
    def connect(
        cls,
        path: Path | str,
        *,
        uid: int | None = None,
        secret: bytes | None = None,
        api_key: str | None = None,
        name: str = CLIENT_NAME,
        timeout: float | None = START_TIMEOUT_S,
        on_progress: OnProgress = ignore_progress,
        max_frame_in: int = MAX_FRAME_BYTES,
    ) -> Self:
        """Connect to a daemon's Unix socket (`native-host serve`). Raises HostDied where nobody listens.

        `uid` is the user whose process may listen, our own unless given; another one's is told nothing and
        raises HandshakeError. A daemon serves its own user alone: `uid` is for what stands before it, such as
        a forwarder.
        """
        wire = SocketWire(Path(path), uid)
        return cls(wire, on_progress, max_frame_in)._introduced(name, max_frame_in, secret, api_key, timeout)

    def chat(
        self,
        conversation: Conversation,
        *,
        on_progress: OnProgress | None = None,
        timeout: float | None = None,
        **options: Unpack[ChatOptions],
    ) -> Stream[messages.ChatResult]:
        """Ask a question, or go on with a conversation; the answer streams. In a `session` the host keeps
        what is said, so that only what is new is sent.
        """
        return self._stream(asking.chat(conversation, options), on_progress, timeout)

    def stream(
        self,
        prompt: Prompt,
        *,
        on_progress: OnProgress | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Stream[Generated]:
        """Continue a prompt as it stands, without a chat template; the text streams."""
        return self._stream(asking.stream(prompt, options), on_progress, timeout)

    def resume(
        self, name: str, from_seq: int, *, timeout: float | None = None
    ) -> Stream[Generated | messages.ChatResult]:
        """Take up a stream whose connection was lost: `host.resume(*stream.place)`. Its text is what was
        missed; its result the whole answer.
        """
        return self._stream(asking.resume(name, from_seq), None, timeout)

    def generate(
        self,
        prompt: Prompt,
        *,
        on_progress: OnProgress | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generated:
        """Continue a prompt as it stands, and return when it is done."""
        return self._ask(asking.generate(prompt, options), on_progress, timeout)

    def generate_many(
        self,
        prompts: Sequence[str],
        *,
        on_progress: OnProgress | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> GeneratedMany:
        """Continue several prompts, and return when all are done."""
        return self._ask(asking.generate_many(prompts, options), on_progress, timeout)

    def create_session(
        self, *, model: str | None = None, system: str | None = None, ttl_s: float | None = None
    ) -> str:
        """Begin a conversation that the host keeps for `ttl_s` seconds after it was last used; its name is
        for `chat(…, session=name)`."""
        return self._ask(asking.create_session(model, system, ttl_s))

    def session(self, name: str) -> messages.SessionsGetResult:
        """What was said in a session."""
        return self._ask(asking.session(name))

    def sessions(self) -> list[messages.SessionListing]:
        """One's own sessions, the least recently used first."""
        return self._ask(asking.sessions())

    def delete_session(self, name: str) -> None:
        """Forget a session."""
        self._ask(asking.delete_session(name))

    def tokenize(
        self, text: str, *, model: str | None = None, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Text to token ids."""
        return self._ask(asking.tokenize(text, model, add_special, parse_special))

    def detokenize(self, tokens: Sequence[int], *, model: str | None = None) -> str:
        """Token ids to text; bytes that are no UTF-8 are replaced."""
        return self._ask(asking.detokenize(tokens, model))

    def models(self) -> list[messages.ModelListing]:
        """The registry's models and their state."""
        return self._ask(asking.models())

    def inspect(
        self, model: str | None = None, *, path: Path | str | None = None
    ) -> messages.ModelInspection:
        """What a model's file, or any file at `path`, says about itself."""
        return self._ask(asking.inspect(model, path))

    def estimate(
        self, model: str | None = None, **options: Unpack[MemoryOptions]
    ) -> messages.ModelsEstimateResult:
        """How much memory a model would take, without loading it."""
        return self._ask(asking.estimate(model, options))

    def load(
        self,
        model: str | None = None,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[LoadOptions],
    ) -> messages.ModelsLoadResult:
        """Load a model before it is needed."""
        return self._ask(asking.load(model, options), on_progress)

    def unload(self, model: str, *, force: bool = False) -> None:
        """Give a model's memory back, after what runs, or at once with `force`."""
        self._ask(asking.unload(model, force))

    def pull(
        self, source: str, *, name: str | None = None, on_progress: OnProgress | None = None
    ) -> messages.ModelsPullResult:
        """Fetch a model (`hf:owner/repo[:quant]`, `file:PATH`, `https://…#sha256=…`) and add it to the
        registry."""
        return self._ask(asking.pull(source, name), on_progress)

    def import_models(self, origin: str | Path, *, dry_run: bool = False) -> messages.ModelsImportResult:
        """Take over, where they lie, the models of `ollama`, `lmstudio`, `huggingface` or a folder."""
        return self._ask(asking.import_models(origin, dry_run))

    def delete(self, model: str, *, force: bool = False) -> messages.ModelsDeleteResult:
        """Forget a model, and remove its files if a pull brought them."""
        return self._ask(asking.delete(model, force))

    def recommend(self, *, context_length: int | None = None) -> messages.ModelsRecommendResult:
        """What fits this machine, and how fast it would be, best first."""
        return self._ask(asking.recommend(context_length))

    def hardware(self) -> messages.HardwareInfoResult:
        """This machine, its CPU variant, and the runtime chosen for it."""
        return self._ask(asking.hardware())

    def ping(self, *, timeout: float | None = None) -> messages.PingResult:
        """A sign of life."""
        return self._ask(asking.ping(), timeout=timeout)

    def health(self, *, timeout: float | None = None) -> messages.HealthResult:
        """Whether all is well."""
        return self._ask(asking.health(), timeout=timeout)

    def call(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        on_progress: OnProgress | None = None,
        timeout: float | None = None,
    ) -> Json:
        """Any method of the contract, by its wire name; the result as plain JSON."""
        return self._ask(asking.anything(method, params), on_progress, timeout)

    def close(self) -> None:
        """End the connection, and the host where it is our child; what is under way fails with HostDied."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _introduced(
        self, name: str, max_frame_in: int, secret: bytes | None, api_key: str | None, timeout: float | None
    ) -> Self:
        deadline = deadline_after(timeout)
        steps = introduce(name, max_frame_in, secret, api_key)
        try:
            method, params = next(steps)
            while True:
                answer = self._open(Question(method, params, bytes), self._on_progress, deadline).result
                method, params = steps.send(answer)
        except StopIteration as introduced:
            self.info = introduced.value
            return self
        except BaseException:
            self.close()
            raise

    def _ask(
        self, question: Question[R], on_progress: OnProgress | None = None, timeout: float | None = None
    ) -> R:
        return self._stream(question, on_progress, timeout).result

    def _stream(
        self, question: Question[R], on_progress: OnProgress | None, timeout: float | None
    ) -> Stream[R]:
        return self._open(question, on_progress or self._on_progress, deadline_after(timeout))

    def _open(self, question: Question[R], on_progress: OnProgress, deadline: float | None) -> Stream[R]:
        call = self._connection.call(question.method, question.params)
        return Stream(call, Reply(question, on_progress), deadline)
