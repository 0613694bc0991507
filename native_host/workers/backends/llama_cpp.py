"""GGUF models through llama-cpp-python, as a second opinion to `gguf`: one request is computed at a time, the
others wait in turn.
"""

from __future__ import annotations

import threading

import numpy as np

from native_host.protocol import errors
from native_host.workers.backends import BackendUnusableError, Cancelled, Progress
from native_host.workers.backends.answer import Answer, Reason
from native_host.workers.backends.failures import logged_failure
from native_host.workers.backends.gguf import translated
from native_host.workers.backends.llama_cpp_model import BATCH, LlamaCppModel, Sampler, described
from native_host.workers.backends.outbox import Outbox
from native_host.workers.backends.prompts import require_bias, require_room, require_tokens
from native_host.workers.backends.waiting import FairQueue
from native_host.workers.messages import (
    ChatMessage,
    EmbedRequest,
    EmbedResult,
    Event,
    GenerateRequest,
    LoadOptions,
    ModelInfo,
    RerankRequest,
    RerankResult,
    TokenInfo,
)


class RequestFailedError(Exception):
    """One request cannot go on; the others can."""


class LlamaCppBackend:
    """One model, one sequence, and the thread that computes it."""

    def __init__(self, model: LlamaCppModel) -> None:
        facts = model.vocabulary.info()
        self.info = ModelInfo(
            context_length=model.context_length,
            context_train_size=facts["context_train_size"] or 0,
            vocab_size=model.vocab_size,
            embedding_dim=facts["embedding_dim"] or 0,
            chat_template=facts["has_chat_template"],
            capabilities=["generate", "tokenize"] + (["chat"] if facts["has_chat_template"] else []),
        )
        self._model = model
        self._outbox = Outbox()
        self._queue: FairQueue[_Generation] = FairQueue()
        self._running: _Generation | None = None
        self._cancelled: set[int] = set()
        self._paused: set[int] = set()
        self._broken: str | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="llama_cpp", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: str, options: LoadOptions, progress: Progress) -> LlamaCppBackend:
        """Load a model file. Raises unsupported for what one sequence alone cannot do."""
        if options.parallel not in (None, 1):
            raise errors.unsupported(
                f"parallel {options.parallel} by the backend 'llama_cpp': it takes turns"
            )
        if options.kv_cache_tokens is not None:
            raise errors.unsupported(
                "kv_cache_tokens by the backend 'llama_cpp': context_length is all of it"
            )
        if options.adapters:
            raise errors.unsupported("adapters by the backend 'llama_cpp'")
        return cls(LlamaCppModel(path, options, progress))

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """Queue a request; a conversation goes through the model's chat template first."""
        if request.adapters:
            raise errors.adapter_not_found(request.adapters[0].name)
        require_bias(request, self.info.vocab_size)
        prompt = self._prompt_tokens(request)
        if len(prompt) >= self.info.context_length:
            raise errors.input_too_long(self.info.context_length - 1, tokens=len(prompt))
        answer = Answer(request_id, request, self._outbox)
        answer.prompt_tokens = len(prompt)
        with self._changed:
            if self._broken is not None:
                raise BackendUnusableError(self._broken)
            self._queue.add(request_id, request, _Generation(self._model, prompt, answer))
            self._changed.notify()

    def _prompt_tokens(self, request: GenerateRequest) -> list[int]:
        if request.messages is not None:
            text = self.apply_template(request.messages, True)
            require_room(text, self.info.context_length)
            return self._tokenize_prompt(text)
        if isinstance(request.prompt, str):
            require_room(request.prompt, self.info.context_length)
            return self.tokenize(request.prompt, True, False)
        tokens = request.prompt or []
        require_tokens("prompt", tokens, self.info.vocab_size)
        if not tokens:
            raise errors.invalid_params("prompt", "is empty")
        return tokens

    def _tokenize_prompt(self, text: str) -> list[int]:
        """As a template made it: with control tokens, and a beginning of text only where that is missing."""
        plain = self.tokenize(text, False, True)
        begins = plain[:1] == [self._model.vocabulary.token_bos()]
        return plain if begins else self.tokenize(text, True, True)

    def cancel(self, request_id: int) -> None:
        """End a request by the end of the step."""
        with self._changed:
            waiting = self._queue.remove(request_id)
            if waiting is not None:
                waiting.end("cancelled")
                self._paused.discard(request_id)
            elif self._is_running(request_id):
                self._cancelled.add(request_id)
                self._changed.notify()

    def pause(self, request_id: int) -> None:
        """Compute others meanwhile."""
        with self._changed:
            if self._queue.has(request_id) or self._is_running(request_id):
                self._paused.add(request_id)

    def resume(self, request_id: int) -> None:
        """Let it take its turns again."""
        with self._changed:
            self._paused.discard(request_id)
            self._changed.notify()

    def _is_running(self, request_id: int) -> bool:
        return self._running is not None and self._running.request_id == request_id

    def _run(self) -> None:
        """The thread's life: one step after the other, of whoever's turn it is."""
        while (generation := self._whose_turn()) is not None:
            try:
                reason = generation.step()
            except RequestFailedError as error:
                self._leave(generation)
                generation.fail(str(error))
            except Exception as error:  # noqa: BLE001 - the thread must tell whoever waits before it ends
                self._break_down(f"{type(error).__name__}: {error}")
                return
            else:
                if reason is not None:
                    self._leave(generation)
                    generation.end(reason)

    def _whose_turn(self) -> _Generation | None:
        """Wait for something to compute; `None` at the end of all."""
        with self._changed:
            while not self._closed:
                self._choose()
                if self._running is not None and self._running.request_id not in self._paused:
                    return self._running
                self._changed.wait()
            return None

    def _choose(self) -> None:
        """Whoever is at work goes on, unless cancelled, or paused: then others are computed meanwhile.

        One that is deterministic keeps its place: it would be computed in other steps the second time.
        """
        running = self._running
        if running is not None and running.request_id in self._cancelled:
            self._leave(running)
            running.end("cancelled")
        elif running is not None and running.request_id in self._paused and not running.request.deterministic:
            self._queue.put_back(running.request_id, running.request, running)
            self._running = None
        if self._running is None:
            self._running = self._queue.next(self._paused)

    def _leave(self, generation: _Generation) -> None:
        """It is done with."""
        with self._changed:
            self._running = None
            self._cancelled.discard(generation.request_id)
            self._paused.discard(generation.request_id)

    def _break_down(self, problem: str) -> None:
        """Fail everything; the next request ends the worker, and its successor gets the ones after it."""
        with self._changed:
            self._broken = problem
            failed = [self._running] if self._running is not None else []
            while (waiting := self._queue.next()) is not None:
                failed.append(waiting)
            self._running = None
        for generation in failed:
            generation.fail(problem)

    def drain(self) -> list[Event]:
        """Everything since the last call."""
        return self._outbox.drain()

    def fileno(self) -> int:
        """Readable while events wait."""
        return self._outbox.fileno()

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """Not by this backend."""
        raise errors.unsupported("embeddings by the backend 'llama_cpp'")

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """Not by this backend."""
        raise errors.unsupported("reranking by the backend 'llama_cpp'")

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids, by llama.cpp's own tokenizer."""
        with translated():
            return self._model.vocabulary.tokenize(text, add_special, parse_special)

    def detokenize(self, tokens: list[int]) -> str:
        """Token ids to text; bytes that are no UTF-8 are replaced."""
        require_tokens("tokens", tokens, self.info.vocab_size)
        with translated():
            return self._model.vocabulary.detokenize(tokens).decode("utf-8", "replace")

    def apply_template(self, messages: list[ChatMessage], add_generation_prompt: bool) -> str:
        """The model's own chat template, by the renderer that the backend `gguf` has too."""
        with translated():
            return self._model.vocabulary.apply_template(
                [{"role": message.role, "content": message.content} for message in messages],
                add_generation_prompt=add_generation_prompt,
            )

    def close(self) -> None:
        """End the thread and free the model."""
        with self._changed:
            self._closed = True
            if self._running is not None:
                self._cancelled.add(self._running.request_id)
            self._changed.notify()
        self._thread.join()
        self._model.close()
        self._outbox.close()


class _Generation:
    """One request at work.

    Known tokens that are not computed yet are fed; when the last of them has been, the next is chosen. So it
    can be put aside for another and go on later, though its KV cache was lost.
    """

    def __init__(self, model: LlamaCppModel, prompt: list[int], answer: Answer) -> None:
        self.answer = answer
        self.request = answer.request
        self.request_id = answer.request_id
        self._model = model
        self._tokens = list(prompt)
        self._sampler: Sampler | None = None

    def step(self) -> Reason | None:
        """Compute a part of the prompt, or a token. Answers why the generation ends, if it does."""
        if self._model.user is not self:
            self._take_up()
        if self.request.max_tokens == 0:
            return "length"
        pending = self._tokens[self._model.computed :]
        self._model.compute(pending[:BATCH])
        return self._choose() if len(pending) <= BATCH else None

    def _take_up(self) -> None:
        shares = self.request.prefix_cache and not self.request.deterministic
        cached = self._model.take_up(self, self._tokens, self.request.identity if shares else None)
        if not self.answer.started:
            self.answer.cached_tokens = cached
            self.answer.start()

    def _choose(self) -> Reason | None:
        logits = self._model.logits()
        if not np.isfinite(logits.max()):
            raise RequestFailedError("the model's logits are no numbers")
        if self._sampler is None:
            self._sampler = self._model.sampler(self.request, self._tokens)
        token = self._sampler.sample()
        if token in self._model.ends:
            return "stop"
        self._tokens.append(token)
        if self.answer.take(self._described(token), self._model.vocabulary.detokenize([token])):
            return "stop"
        full = len(self._tokens) >= self._model.context_length
        return "length" if full or self.answer.completion_tokens >= self.request.max_tokens else None

    def _described(self, token: int) -> TokenInfo:
        count = self.request.logprobs
        if count is None:
            return TokenInfo(token)
        return described(token, self._model.logits(), count, self._model.vocabulary)

    def end(self, reason: Reason) -> None:
        """Tell the end, and free what it had."""
        self._free()
        self.answer.finish(reason)

    def fail(self, problem: str) -> None:
        """Tell the end by an error whose details are for the log."""
        self._free()
        self.answer.fail(logged_failure(problem))

    def _free(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
