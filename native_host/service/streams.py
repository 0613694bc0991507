"""Streams that outlive their connection: a `resumable` request goes on while its peer is away, and
`streams.resume` sends what was missed.

The handler of such a request runs in a task of its own and streams into a `_Kept`; whoever reads, first the
request itself and then each resumption, follows that. What was sent may have been lost on its way, so it is
kept too.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import msgspec

from native_host.protocol import errors
from native_host.protocol.deltas import parts_of
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.protocol.messages import (
    InferenceParams,
    Partial,
    StreamsResumeParams,
    TokenLogprob,
    ToolCallDelta,
)
from native_host.service.context import RequestContext
from native_host.service.reporting import Progress
from native_host.telemetry.logs import Log

KEPT_S = 60.0
"""How long a stream waits for its peer to come back, in seconds."""
KEPT_BYTES = 4 << 20
"""How much of one stream is kept. One that nobody reads is not computed any further."""
MAX_LEFT = 256
MAX_LEFT_BYTES = 64 << 20
"""How many streams may wait for their peers, and what they may hold. Where it is more, whoever has the most
of it loses its own: those that are answered first, and the oldest of them."""

_PORTION = 128
"""Characters of a piece: with one token's logprobs it fits the smallest frame that a peer may ask for, so
that it is never cut in two and keeps its number."""

log = Log("service")

Hold = Callable[[Identity], contextlib.AbstractContextManager[None]]
"""What a peer's work takes of what it may have at once, as long as it runs. Raises where that is too much."""


def hold_nothing(_: Identity) -> contextlib.AbstractContextManager[None]:
    """For hosts that count nobody's work."""
    return contextlib.nullcontext()


P = TypeVar("P", bound=InferenceParams)
R = TypeVar("R")


class Streams:
    """Hands out streams that can be taken up again, each to whoever asked for it only."""

    def __init__(
        self,
        kept_s: float = KEPT_S,
        kept_bytes: int = KEPT_BYTES,
        max_left: int = MAX_LEFT,
        max_left_bytes: int = MAX_LEFT_BYTES,
        hold: Hold = hold_nothing,
    ) -> None:
        """`hold` is asked before a stream begins, and left when its work is over, whoever reads it then."""
        self._hold = hold
        self._kept_s = kept_s
        self._kept_bytes = kept_bytes
        self._max_left = max_left
        self._max_left_bytes = max_left_bytes
        self._streams: dict[str, _Kept] = {}

    @property
    def kept(self) -> bool:
        """Whether there are any."""
        return bool(self._streams)

    def before(
        self, handler: Callable[[P, RequestContext], Awaitable[R]]
    ) -> Callable[[P, RequestContext], Awaitable[R]]:
        """The handler, in a task of its own where that is asked for."""

        async def answer(params: P, context: RequestContext) -> R:
            if not params.resumable:
                return await handler(params, context)
            if not params.stream:
                raise errors.invalid_params("resumable", "is for streams: ask with `stream: true`")
            kept = _Kept(context, self._kept_bytes, self._make_room)
            context.take_up(kept.name, 0, kept.partial)
            held = contextlib.ExitStack()
            held.enter_context(self._hold(context.identity))
            self._streams[kept.name] = kept
            kept.start(handler(params, kept)).add_done_callback(lambda _: held.close())
            result: R = await self._follow(kept, context, 0)
            return result

        return answer

    async def resume(self, params: StreamsResumeParams, context: RequestContext) -> Any:  # noqa: ANN401
        """Send a stream from `from_seq` on, and answer with its result. Whoever reads it meanwhile is told
        `cancelled`. Raises stream_not_found and invalid_params.
        """
        kept = self._streams.get(params.stream)
        if kept is None or kept.identity.owner != context.identity.owner:
            raise errors.stream_not_found(params.stream)
        kept.require(params.from_seq)
        context.take_up(kept.name, params.from_seq, kept.partial)
        return await self._follow(kept, context, params.from_seq)

    async def stop(self) -> None:
        """End all of them."""
        tasks = [kept.task for kept in self._streams.values() if kept.task is not None]
        for kept in list(self._streams.values()):
            self._forget(kept)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, kept: _Kept, context: RequestContext, from_seq: int) -> Any:  # noqa: ANN401
        reader = _Reader(kept, context, from_seq)
        self._stop_waiting(kept)
        answered = False
        try:
            result = await reader.run()
            answered = True
            return result
        except RpcError:
            answered = kept.over
            raise
        finally:
            if kept.leave(reader):
                self._left(kept, comes_back=answered or context.abandoned)

    def _left(self, kept: _Kept, comes_back: bool) -> None:
        """Nobody reads it any more. It waits for its peer, unless that does not want it or cannot name it."""
        if not comes_back or not kept.named:
            self._forget(kept)
            return
        loop = asyncio.get_running_loop()
        kept.timer = loop.call_later(self._kept_s, self._forget, kept)
        self._make_room()

    def _make_room(self) -> None:
        self._forget_most(self._max_left, lambda kept: 1)
        self._forget_most(self._max_left_bytes, lambda kept: kept.size)

    def _forget_most(self, bound: int, weigh: Callable[[_Kept], int]) -> None:
        """Where those that wait for their peers weigh more than the bound, forget some of the owner whose own
        weigh the most.
        """
        left = [kept for kept in self._streams.values() if kept.timer is not None]
        weights: collections.Counter[str] = collections.Counter()
        for kept in left:
            weights[kept.identity.owner] += weigh(kept)
        while weights.total() > bound:
            [(owner, _)] = weights.most_common(1)
            own = [kept for kept in left if kept.identity.owner == owner]
            gone = min(own, key=lambda kept: not kept.over)  # the first of equals: the oldest
            left.remove(gone)
            weights[owner] -= weigh(gone)
            self._forget(gone)

    def _forget(self, kept: _Kept) -> None:
        self._stop_waiting(kept)
        self._streams.pop(kept.name, None)
        if kept.task is not None:
            kept.task.cancel()

    def _stop_waiting(self, kept: _Kept) -> None:
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer = None


class _Piece(msgspec.Struct, frozen=True):
    text: str
    index: int | None
    logprobs: list[TokenLogprob] | None
    reasoning: str = ""
    calls: list[ToolCallDelta] = []

    @property
    def size(self) -> int:
        """About what it takes, in bytes."""
        characters = len(self.text) + len(self.reasoning)
        characters += sum(64 + len(call.function.arguments) for call in self.calls)
        return 64 + 4 * characters + sum(64 * (2 + len(each.top)) for each in self.logprobs or ())

    def portions(self) -> Iterator[_Piece]:
        """The same in pieces that fit any frame."""
        for start in range(0, len(self.reasoning), _PORTION):
            yield _Piece("", self.index, None, self.reasoning[start : start + _PORTION])
        if self.text or self.logprobs:
            yield from _Piece(self.text, self.index, self.logprobs)._text_portions()
        for call in self.calls:
            for part in parts_of(call, _PORTION):
                yield _Piece("", self.index, None, "", [part])

    def _text_portions(self) -> Iterator[_Piece]:
        if len(self.text) <= _PORTION and len(self.logprobs or ()) <= 1:
            yield self
            return
        text, tokens = len(self.text) // 2, len(self.logprobs or ()) // 2
        logprobs = self.logprobs
        yield from _Piece(self.text[:text], self.index, logprobs and logprobs[:tokens])._text_portions()
        yield from _Piece(self.text[text:], self.index, logprobs and logprobs[tokens:])._text_portions()


class _Kept:
    """One stream: what its handler sees of the request (`RequestContext`), and what it has produced.

    `named` once its peer may know its name; `timer` while it waits for its peer; `size` in bytes. `on_growth`
    is called when more is kept while nobody reads.
    """

    def __init__(self, context: RequestContext, most: int, on_growth: Callable[[], None]) -> None:
        self.name = secrets.token_urlsafe(24)
        self.request_id = context.request_id
        self.identity = context.identity
        self.deadline = context.deadline
        self.partial = Partial()
        self.abandoned = False
        self.named = False
        self.size = 0
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.news = asyncio.Event()
        self._most = most
        self._on_growth = on_growth
        self._pieces: collections.deque[_Piece] = collections.deque()
        self._first = 0
        self._reader: _Reader | None = None
        self._progress: Progress | None = None
        self._outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._moved = asyncio.Event()

    # For the handler

    async def stream(
        self,
        text: str,
        *,
        index: int | None = None,
        logprobs: list[TokenLogprob] | None = None,
        reasoning: str = "",
        tool_calls: list[ToolCallDelta] | None = None,
    ) -> None:
        """Keep a piece, and wait until it is sent, or, while nobody reads, until there is room for more."""
        if not (text or logprobs or reasoning or tool_calls):
            return
        for piece in _Piece(text, index, logprobs, reasoning, tool_calls or []).portions():
            self._pieces.append(piece)
            self.size += piece.size
        self.news.set()
        if self._reader is None:
            self._on_growth()
            await asyncio.sleep(0)  # where this one had to go, its handler ends here
        while not self._room:
            self._moved.clear()
            await self._moved.wait()

    async def progress(
        self, stage: str, fraction: float | None, message: str, counted: tuple[int, int] | None = None
    ) -> None:
        """Keep the newest figure for whoever reads."""
        self._progress = Progress(stage, fraction, message, counted)
        self.news.set()

    def take_up(self, stream: str, from_seq: int, partial: Partial) -> None:
        """A stream is kept once."""
        raise errors.unsupported("a resumable stream in another")

    @property
    def _end(self) -> int:
        return self._first + len(self._pieces)

    @property
    def _room(self) -> bool:
        reader = self._reader
        return self.size < self._most if reader is None else reader.at == self._end

    def start(self, work: Awaitable[Any]) -> asyncio.Task[None]:
        """Run the handler, in a task that is answered."""
        self.task = asyncio.ensure_future(self._run(work))
        # Not the task's own last act: a task that is cancelled before its first step does nothing at all.
        self.task.add_done_callback(lambda _: self._finish(None, errors.cancelled()))
        return self.task

    async def _run(self, work: Awaitable[Any]) -> None:
        try:
            self._finish(await work, None)
        except RpcError as error:
            self._finish(None, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever comes back for it hears of it
            incident = secrets.token_hex(6)
            log.failure("stream.failed", error, incident=incident, request_id=self.request_id)
            self._finish(None, errors.internal_error(incident))

    def _finish(self, result: object, error: RpcError | None) -> None:
        if self._outcome.done():
            return
        if error is None:
            self._outcome.set_result(result)
        else:
            self._outcome.set_exception(error)
            self._outcome.exception()  # nobody need hear of it
        self.news.set()

    # For readers

    @property
    def over(self) -> bool:
        """Whether it has its result, or its error."""
        return self._outcome.done()

    def require(self, seq: int) -> None:
        """Raises invalid_params where there is no such piece, or not any more."""
        if seq > self._end:
            raise errors.invalid_params("from_seq", f"the stream has {self._end} pieces so far")
        if seq < self._first:
            raise errors.invalid_params("from_seq", f"what came before piece {self._first} is gone")

    def enter(self, reader: _Reader) -> None:
        """Send to this one from now on, and to nobody else."""
        self._reader = reader
        self.news.set()  # for the one before it
        self.moved()

    def leave(self, reader: _Reader) -> bool:
        """It reads no more; whether nobody does now."""
        if self._reader is not reader:
            return False
        self._reader = None
        self.moved()
        return True

    def read_by(self, reader: _Reader) -> bool:
        """Whether it is this one that reads."""
        return self._reader is reader

    def piece(self, seq: int) -> _Piece | None:
        """The piece of this number, if it has come."""
        return self._pieces[seq - self._first] if seq < self._end else None

    def progress_to_tell(self) -> Progress | None:
        """A figure that nobody has been told."""
        newest, self._progress = self._progress, None
        return newest

    def moved(self) -> None:
        """A reader has taken something, come or gone: keep no more than may be kept, and let work go on."""
        sent = self._first if self._reader is None else self._reader.at
        while self.size > self._most and self._first < sent:
            self.size -= self._pieces.popleft().size
            self._first += 1
        self._moved.set()

    def result(self) -> Any:  # noqa: ANN401 - of whichever method it was
        """The result of one that is over. Raises the error that ended it."""
        return self._outcome.result()


class _Reader:
    """Sends a stream to one request; `at` is the next piece that it takes."""

    def __init__(self, kept: _Kept, context: RequestContext, at: int) -> None:
        self.at = at
        self._kept = kept
        self._context = context
        kept.enter(self)

    async def run(self) -> Any:  # noqa: ANN401
        """Send everything; the result. Raises what ended the stream, and cancelled where another reads it."""
        kept = self._kept
        while True:
            self._require_turn()
            kept.news.clear()
            await self._send_what_there_is()
            if kept.over:
                return kept.result()
            await kept.news.wait()

    async def _send_what_there_is(self) -> None:
        kept = self._kept
        progress = kept.progress_to_tell()
        if progress is not None:
            await self._context.progress(
                progress.stage, progress.fraction, progress.message, progress.counted
            )
            self._require_turn()
        while (piece := kept.piece(self.at)) is not None:
            kept.named = True
            await self._context.stream(
                piece.text,
                index=piece.index,
                logprobs=piece.logprobs,
                reasoning=piece.reasoning,
                tool_calls=piece.calls or None,
            )
            self._require_turn()
            self.at += 1
            kept.moved()

    def _require_turn(self) -> None:
        if not self._kept.read_by(self):
            raise errors.cancelled("the stream was taken up by another request")
