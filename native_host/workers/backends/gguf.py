"""GGUF models through `tabagent_model.Engine`: the one place that knows both its exceptions and our
catalogue.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import tabagent_model
from tabagent_model.chat import written

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.workers.backends import BackendUnusableError, Cancelled, Progress
from native_host.workers.backends.adapters import chosen
from native_host.workers.backends.chats import Chats, parts_of
from native_host.workers.backends.engine_requests import Requests, planned, refusals, require_tokens
from native_host.workers.backends.prompts import common, require_room, template_arguments
from native_host.workers.capabilities import gguf_capabilities
from native_host.workers.messages import (
    AdapterFile,
    ChatMessage,
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

PARALLEL = 16
"""Sequences decoded at once where `models.json` says nothing. All share the same KV cells, so another one
costs no more than its row of logits (the vocabulary in floats)."""

ATTENTION_SINKS = 4
"""First tokens that stay when a context is full: models attend to them whatever they are (Xiao et al.,
"Efficient Streaming Language Models with Attention Sinks", 2023)."""

KEPT_BEGINNINGS = 8
"""Beginnings of conversations whose tokens are known without rendering them anew; the oldest go first."""


class GgufBackend:
    """One GGUF model, its context and the Rust thread that runs it."""

    def __init__(self, engine: tabagent_model.Engine, options: LoadOptions) -> None:
        self._engine = engine
        self._adapters = options.adapters
        self._shifts = options.context_shift
        self._requests = Requests()
        self._beginnings: dict[bytes, list[int]] = {}
        facts = engine.info()
        self.info = ModelInfo(
            context_length=facts["context_length"],
            context_train_size=facts["context_train_size"] or 0,
            vocab_size=facts["vocab_size"],
            embedding_dim=facts["embedding_dim"] or 0,
            chat_template=facts["has_chat_template"],
            capabilities=gguf_capabilities(facts["kind"], facts["pooling"], facts["has_chat_template"]),
            spill_bytes=facts["spill_bytes"],
            details={"pooling": facts["pooling"], "context_shift": facts["context_shift"]},
        )
        self._chats = Chats(facts["chat_template"], self._render, self._control_token)
        self._generates = "generate" in self.info.capabilities

    @classmethod
    def open(cls, path: str, options: LoadOptions, progress: Progress) -> GgufBackend:
        """Load a model file."""

        def go_on(fraction: float) -> bool:
            progress(fraction)
            return True

        with translated(path, *(adapter.path for adapter in options.adapters)):
            engine = tabagent_model.Engine(
                path,
                context_length=options.context_length,
                threads=options.threads,
                gpu_layers=options.gpu_layers,
                mlock=options.mlock,
                parallel=options.parallel or PARALLEL,
                kv_cache_tokens=options.kv_cache_tokens,
                kv_type=options.kv_type or "f16",
                flash_attention=options.flash_attention,
                spill_bytes=options.spill_bytes,
                adapters=named_files(options.adapters),
                progress=go_on,
            )
        return cls(engine, options)

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """Queue a request; a conversation goes through the model's chat template first.

        The slow part, text to tokens, is done before the lock that `drain` needs too.
        """
        adapters = chosen(request.adapters, self._adapters)
        if not self._generates:
            raise errors.unsupported(f"text generation by a model that can only {self.info.capabilities[0]}")
        plan = self._chats.plan(request) if request.messages is not None else None
        prompt = self._prompt_tokens(request, plan)

        options = planned(request, plan)
        options["adapters"] = adapters
        if request.public_system:
            options["public_prefix"] = self._system_tokens(request, prompt, None)
        if self._shifts and not request.deterministic:
            offered = None if request.tool_choice == "none" else request.tools
            stays = self._system_tokens(request, prompt, offered)
            options["context_shift"] = max(stays, ATTENTION_SINKS)

        def submit() -> int:
            return self._engine.submit(prompt, max_tokens=request.max_tokens, **options)

        with refusals(self._engine.stats, self.info.context_length, len(prompt)):
            self._requests.add(request_id, submit, parts_of(plan))

    def _control_token(self, text: str) -> int | None:
        """The id of a control token by how it is written."""
        with translated():
            tokens = self._engine.tokenize(text, False, True)
            return tokens[0] if len(tokens) == 1 and not self._engine.detokenize(tokens) else None

    def _prompt_tokens(self, request: GenerateRequest, plan: Plan | None) -> list[int]:
        if plan is not None:
            require_room(written(plan.prompt), self.info.context_length)
            with translated():
                return self._engine.tokenize_prompt(plan.prompt)
        if isinstance(request.prompt, str):
            require_room(request.prompt, self.info.context_length)
            return self.tokenize(request.prompt, True, False)
        tokens = request.prompt or []
        require_tokens("prompt", tokens, self.info.vocab_size)
        return tokens

    def _system_tokens(
        self, request: GenerateRequest, prompt: list[int], tools: list[dict[str, Any]] | None
    ) -> int:
        """How many first tokens of a conversation's prompt are its system message, and these tools."""
        first = request.messages[0] if request.messages else None
        system = [first] if first and first.role == "system" else []
        if first is None or not (system or tools):
            return 0
        return common(prompt, self._beginning(system, tools))

    def _beginning(self, system: list[ChatMessage], tools: list[dict[str, Any]] | None) -> list[int]:
        """How every conversation begins that has this system message and these tools: as two do that say
        different things.
        """
        key = msgspec.json.encode((system, tools))
        if key not in self._beginnings:
            first, second = (
                self.apply_template(TemplateRequest([*system, ChatMessage("user", text)], tools=tools))
                for text in ("a", "b")
            )
            with translated():
                tokens = self._engine.tokenize_prompt([(first[: common(first, second)], True)])
            while len(self._beginnings) >= KEPT_BEGINNINGS:
                del self._beginnings[next(iter(self._beginnings))]
            self._beginnings[key] = tokens
        return self._beginnings[key]

    def cancel(self, request_id: int) -> None:
        """End a request by the end of the step."""
        self._requests.tell(request_id, self._engine.cancel)

    def pause(self, request_id: int) -> None:
        """Leave a request out of batches from the next step on."""
        self._requests.tell(request_id, self._engine.pause)

    def resume(self, request_id: int) -> None:
        """Take a request back into batches."""
        self._requests.tell(request_id, self._engine.resume)

    def drain(self) -> list[Event]:
        """Everything since the last call, under one GIL hold in the native module."""
        return self._requests.translate(self._engine.drain)

    def fileno(self) -> int | None:
        """Readable while events wait; `None` for a model that does not generate and has none."""
        return self._engine.fileno() if self._generates else None

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """Vectors by the model's own pooling, computed beside the generations that run."""
        for text in request.inputs:
            require_room(text, self.info.context_length)
        with translated():
            made = self._engine.embed(request.inputs, normalize=request.normalize, between=_until(cancelled))
        return EmbedResult(made["vectors"], made["tokens"])

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """Scores by the model's classification head."""
        for document in request.documents:
            require_room(request.query + document, self.info.context_length)
        with translated():
            made = self._engine.score(request.query, request.documents, between=_until(cancelled))
        return RerankResult(made["scores"], made["tokens"])

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids, by llama.cpp's own tokenizer."""
        with translated():
            return self._engine.tokenize(text, add_special, parse_special)

    def detokenize(self, tokens: list[int]) -> str:
        """Token ids to text; bytes that are no UTF-8 are replaced."""
        require_tokens("tokens", tokens, self.info.vocab_size)
        with translated():
            return self._engine.detokenize(tokens).decode("utf-8", "replace")

    def apply_template(self, request: TemplateRequest) -> str:
        """What the model is given for a conversation."""
        return self._chats.prompt(request)

    def _render(self, request: TemplateRequest) -> Prompt:
        """The model's own chat template, in the native module's sandbox."""
        with translated():
            return self._engine.prompt_pieces(**template_arguments(request))

    def close(self) -> None:
        """Free the model."""
        self._engine.close()


@contextlib.contextmanager
def translated(file: str = "", *adapters: str) -> Iterator[None]:
    """Raise `tabagent_model`'s exceptions as what the catalogue calls them; `file` is what was being
    opened, with `adapters`.
    """
    try:
        yield
    except tabagent_model.ModelFileNotFoundError as error:
        raise errors.invalid_model_file(_faulty(error, file, adapters), "there is no such file") from None
    except tabagent_model.InvalidGgufError as error:
        faulty = _faulty(error, file, adapters)
        raise errors.invalid_model_file(faulty, str(error).removeprefix(f"{faulty}: ")) from None
    except tabagent_model.InsufficientMemoryError as error:
        raise _insufficient_memory(file, str(error)) from None
    except tabagent_model.LoadError as error:
        raise errors.model_load_failed(file, str(error)) from None
    except tabagent_model.InvalidArgumentError as error:
        raise errors.invalid_params(_path_of(str(error)), str(error)) from None
    except tabagent_model.ContextOverflowError as error:
        raise errors.input_too_long(error.limit, tokens=error.tokens) from None
    except tabagent_model.UnsupportedError as error:
        raise errors.unsupported(str(error)) from None
    except tabagent_model.TemplateError as error:
        raise errors.invalid_params("messages", str(error)) from None
    except tabagent_model.TabagentError as error:
        raise BackendUnusableError(str(error)) from error


def named_files(adapters: list[AdapterFile]) -> list[tuple[str, str | PathLike[str], float]]:
    """Adapters as `tabagent_model` takes them."""
    return [(adapter.name, adapter.path, adapter.scale) for adapter in adapters]


def _faulty(error: Exception, file: str, adapters: tuple[str, ...]) -> str:
    """Which of several files an error is about: it begins with its path."""
    return next((path for path in adapters if str(error).startswith(f"{path}: ")), file)


def _until(cancelled: Cancelled) -> Callable[[], None]:
    """What ends a computation between two batches once its request is cancelled."""

    def check() -> None:
        if cancelled():
            raise errors.cancelled()

    return check


_PARAMS = {
    **{name: name for name in (*GenerateRequest.__struct_fields__, *LoadOptions.__struct_fields__)},
    "n_seq_max": "parallel",
    "kv_cells": "kv_cache_tokens",
}


def _path_of(problem: str) -> str:
    """The param that the native module's complaint begins with, or nothing."""
    return _PARAMS.get(problem.split(maxsplit=1)[0], "")


def _insufficient_memory(file: str, problem: str) -> RpcError:
    """The weights alone are the least that is needed."""
    needed = Path(file).stat().st_size
    available = int(tabagent_model.get_memory_info()["available_bytes"])
    return errors.insufficient_memory(needed, available, problem)
