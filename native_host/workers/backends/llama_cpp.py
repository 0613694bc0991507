"""GGUF models through llama-cpp-python: a second implementation to hold `gguf` against, in Python and ctypes.

It computes; the engine that `gguf` has too schedules, samples and tells events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabagent_model.chat import written

from native_host.protocol import errors
from native_host.workers.backends import Cancelled, Progress
from native_host.workers.backends.batching import StepLoop
from native_host.workers.backends.chats import Chats
from native_host.workers.backends.engine_requests import require_tokens
from native_host.workers.backends.gguf import translated
from native_host.workers.backends.llama_cpp_model import BATCH, LlamaCppModel
from native_host.workers.backends.prompts import require_room, template_arguments
from native_host.workers.messages import (
    EmbedRequest,
    EmbedResult,
    Event,
    GenerateRequest,
    LoadOptions,
    ModelInfo,
    RerankRequest,
    RerankResult,
    TemplateRequest,
)

if TYPE_CHECKING:
    from tabagent_model.chat import Plan, Prompt


class LlamaCppBackend:
    """One model. Requests are computed one after the other, unless `parallel` says how many together."""

    def __init__(self, model: LlamaCppModel) -> None:
        facts = model.texts.info()
        chats = facts["has_chat_template"]
        self.info = ModelInfo(
            context_length=model.context_length,
            context_train_size=facts["context_train_size"] or 0,
            vocab_size=facts["vocab_size"],
            embedding_dim=facts["embedding_dim"] or 0,
            chat_template=chats,
            capabilities=["generate", "tokenize"] + (["chat"] if chats else []),
        )
        self._chats = Chats(facts["chat_template"], self._render, self._control_token)
        self._model = model
        self._texts = model.texts
        self._loop = StepLoop(
            model,
            model.vocabulary(),
            context_length=model.context_length,
            parallel=model.parallel,
            batch=BATCH,
            prefix_reuse=model.prefix_reuse(),
        )

    @classmethod
    def open(cls, path: str, options: LoadOptions, progress: Progress) -> LlamaCppBackend:
        """Load a model file. Raises unsupported, too."""
        if options.kv_cache_tokens is not None:
            raise errors.unsupported(
                "kv_cache_tokens by the backend 'llama_cpp': each sequence has context_length of its own"
            )
        asked = {
            "adapters": options.adapters,
            "context_shift": options.context_shift,
            "spill_memory": options.spill_bytes,
        }
        for key, given in asked.items():
            if given:
                raise errors.unsupported(f"{key} by the backend 'llama_cpp'")
        return cls(LlamaCppModel(path, options, progress))

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """Queue a request; a conversation goes through the model's chat template first."""
        plan = self._chats.plan(request) if request.messages is not None else None
        self._loop.submit(request_id, self._prompt_tokens(request, plan), request, plan)

    def _control_token(self, text: str) -> int | None:
        """The id of a control token by how it is written."""
        tokens = self.tokenize(text, False, True)
        return tokens[0] if len(tokens) == 1 and not self._texts.detokenize(tokens) else None

    def _prompt_tokens(self, request: GenerateRequest, plan: Plan | None) -> list[int]:
        if plan is not None:
            require_room(written(plan.prompt), self.info.context_length)
            with translated():
                return self._texts.tokenize_prompt(plan.prompt)
        if isinstance(request.prompt, str):
            require_room(request.prompt, self.info.context_length)
            return self.tokenize(request.prompt, True, False)
        return request.prompt or []

    def cancel(self, request_id: int) -> None:
        """End a request by the end of the step."""
        self._loop.cancel(request_id)

    def pause(self, request_id: int) -> None:
        """Leave a request out of batches from the next step on."""
        self._loop.pause(request_id)

    def resume(self, request_id: int) -> None:
        """Take a request back into batches."""
        self._loop.resume(request_id)

    def drain(self) -> list[Event]:
        """Everything since the last call."""
        return self._loop.drain()

    def fileno(self) -> int:
        """Readable while events wait."""
        return self._loop.fileno()

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """Not by this backend."""
        raise errors.unsupported("embeddings by the backend 'llama_cpp'")

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """Not by this backend."""
        raise errors.unsupported("reranking by the backend 'llama_cpp'")

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids, by llama.cpp's own tokenizer."""
        with translated():
            return self._texts.tokenize(text, add_special, parse_special)

    def detokenize(self, tokens: list[int]) -> str:
        """Token ids to text; bytes that are no UTF-8 are replaced."""
        require_tokens("tokens", tokens, self.info.vocab_size)
        with translated():
            return self._texts.detokenize(tokens).decode("utf-8", "replace")

    def apply_template(self, request: TemplateRequest) -> str:
        """What the model is given for a conversation."""
        return self._chats.prompt(request)

    def _render(self, request: TemplateRequest) -> Prompt:
        """The model's own chat template, by the renderer that `gguf` has too."""
        with translated():
            return self._texts.prompt_pieces(**template_arguments(request))

    def close(self) -> None:
        """End the engine's thread and free the model."""
        self._loop.close()
        self._model.close()
