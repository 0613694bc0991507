"""Models that an Ollama server has: its HTTP API, by one pool of connections.

`OLLAMA_BASE_URL` says where it is (else `OLLAMA_HOST`, else this machine's port 11434), `OLLAMA_API_KEY` the
key for one that asks for it, and `OLLAMA_TIMEOUT_SECONDS` how long it may be silent.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import shlex
from collections.abc import Mapping

import httpx2
import msgspec

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.workers.backends import Cancelled, Progress
from native_host.workers.backends.answer import Reason
from native_host.workers.backends.failures import logged_failure
from native_host.workers.backends.remote import Asked, Body, RemoteBackend
from native_host.workers.messages import (
    EmbedRequest,
    EmbedResult,
    GenerateRequest,
    LoadOptions,
    ModelInfo,
    RerankRequest,
    RerankResult,
    TemplateRequest,
    TokenInfo,
)

PARALLEL = 4
"""Requests that the server gets at once where `models.json` says nothing; the others wait here, in turn."""
DEFAULT_URL = "http://127.0.0.1:11434"
SILENCE_S = 300.0
"""How long the server may be silent: it may have to load the model first."""
_CONNECT_S = 5.0
_LOOK_S = 0.05
_PENALTY_WINDOW = 64
_SEEDS = 2**31
_UNNAMED = TokenInfo(-1)
"""A token whose id the server does not tell; it sends the text of about one at a time."""


def base_url(environ: Mapping[str, str]) -> str:
    """Where the server is."""
    url = environ.get("OLLAMA_BASE_URL") or environ.get("OLLAMA_HOST") or DEFAULT_URL
    return (url if "://" in url else f"http://{url}").rstrip("/")


class OllamaBackend(RemoteBackend):
    """One model of an Ollama server."""

    def __init__(self, name: str, url: str, options: LoadOptions) -> None:
        super().__init__(options.parallel or PARALLEL)
        self._name = name
        self._url = url
        self._options: Body = {}
        if options.context_length is not None:
            self._options["num_ctx"] = options.context_length
        if options.threads is not None:
            self._options["num_thread"] = options.threads
        self.info = ModelInfo(0)

    @classmethod
    def open(cls, path: str, options: LoadOptions, progress: Progress) -> OllamaBackend:
        """Find the model; `path` is its name there. The server loads it when it is first asked.

        Raises model_absent, and model_load_failed where no server answers.
        """
        backend = cls(path, base_url(os.environ), options)
        try:
            backend.connect(_client(backend._url, os.environ))
            backend.info = _info(backend.call(backend.ask("/api/show", {"model": path})), options)
        except BaseException:
            backend.close()
            raise
        return backend

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """Queue a request. Raises unsupported for what its API has no words for."""
        if request.adapters:
            raise errors.adapter_not_found(request.adapters[0].name)
        _refuse_unheeded(request)
        self.enqueue(request_id, request, self._body(request), prompt_tokens=0)

    def _body(self, request: GenerateRequest) -> Body:
        """Stop strings are ours to find: all backends find them in the same way."""
        options = {
            **self._options,
            "num_predict": request.max_tokens,
            "temperature": request.temperature,
            "top_k": request.top_k,
            "top_p": request.top_p,
            "min_p": request.min_p,
            "repeat_penalty": request.repeat_penalty,
            "repeat_last_n": _PENALTY_WINDOW,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
            "seed": request.seed % _SEEDS,
        }
        body: Body = {"model": self._name, "stream": True, "options": options}
        if request.messages is not None:
            said = [{"role": each.role, "content": each.content} for each in request.messages]
            return {**body, "messages": said}
        return {**body, "prompt": request.prompt, "raw": True}

    async def generate(self, asked: Asked) -> Reason:
        """Stream `/api/chat` or `/api/generate`: a line of JSON a piece."""
        answer = asked.answer
        answer.start()
        path = "/api/chat" if "messages" in asked.body else "/api/generate"
        reason: Reason | None = None
        async with self.lines(path, asked) as lines:
            async for line in lines:
                said = msgspec.json.decode(line, type=Body)
                if "error" in said:
                    raise self._failure(str(said["error"]))
                text = said.get("message", {}).get("content") or said.get("response") or ""
                if text and answer.take(_UNNAMED, text):
                    return "stop"
                if said.get("done"):
                    answer.prompt_tokens = said.get("prompt_eval_count", 0)
                    answer.completion_tokens = said.get("eval_count", answer.completion_tokens)
                    # Read on to the end of the stream: only then is the connection free for another request.
                    reason = "length" if said.get("done_reason") == "length" else "stop"
        if reason is None:
            raise logged_failure("Ollama broke off in the middle of an answer")
        return reason

    def refusal(self, status: int, said: Body) -> RpcError:
        """Its errors are a status and a sentence."""
        message = str(said.get("error", f"HTTP status {status}"))
        if status == httpx2.codes.NOT_FOUND:
            return errors.model_absent(self._name, f"ollama pull {shlex.quote(self._name)}")
        if "does not support" in message:
            return errors.unsupported(f"by Ollama: {message}")
        if status == httpx2.codes.BAD_REQUEST:
            return errors.invalid_params("", f"Ollama: {message}")
        if status in (httpx2.codes.SERVICE_UNAVAILABLE, httpx2.codes.TOO_MANY_REQUESTS):
            return errors.overloaded(self.waiting, 1.0)
        if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            return errors.model_load_failed(
                self._name, f"Ollama: {message}; OLLAMA_API_KEY is the key for it"
            )
        return self._failure(message)

    def _failure(self, message: str) -> RpcError:
        """It could not load the model, or could not go on."""
        if "memory" in message or "load" in message:
            return errors.model_load_failed(self._name, f"Ollama: {message}")
        return logged_failure(f"Ollama: {message}")

    async def lost(self, error: httpx2.HTTPError) -> RpcError:
        """It does not run, is silent, or broke off."""
        if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
            problem = (
                f"no Ollama server answers at {self._url}; start it (ollama serve) or set OLLAMA_BASE_URL"
            )
            return errors.model_load_failed(self._name, problem)
        if isinstance(error, httpx2.TimeoutException):
            return errors.timeout()
        return logged_failure(f"Ollama: {type(error).__name__}: {error}")

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """`/api/embed`, which normalizes."""
        if not request.normalize:
            raise errors.unsupported("normalize: false for Ollama models: it normalizes")
        body = {
            "model": self._name,
            "input": request.inputs,
            "truncate": False,
            "options": self._options,
        }
        future = asyncio.run_coroutine_threadsafe(self.ask("/api/embed", body), self.loop)
        while True:
            try:
                said = future.result(_LOOK_S)
            except concurrent.futures.TimeoutError:
                if cancelled():
                    future.cancel()
                    raise errors.cancelled() from None
            else:
                return EmbedResult(said["embeddings"], said.get("prompt_eval_count", 0))

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """It has no such call."""
        raise errors.unsupported("reranking by Ollama models")

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """It has no such call."""
        raise errors.unsupported("tokenize for Ollama models: its API does not tell tokens")

    def detokenize(self, tokens: list[int]) -> str:
        """It has no such call."""
        raise errors.unsupported("detokenize for Ollama models: its API does not tell tokens")

    def apply_template(self, request: TemplateRequest) -> str:
        """It has no such call."""
        raise errors.unsupported("apply_template for Ollama models: its API does not tell prompts")


def _client(url: str, environ: Mapping[str, str]) -> httpx2.AsyncClient:
    """Raises model_load_failed for settings that make no sense."""
    key = environ.get("OLLAMA_API_KEY")
    seconds = environ.get("OLLAMA_TIMEOUT_SECONDS")
    try:
        timeout = httpx2.Timeout(_CONNECT_S, read=float(seconds) if seconds else SILENCE_S, pool=None)
        return httpx2.AsyncClient(
            base_url=url, timeout=timeout, headers={"Authorization": f"Bearer {key}"} if key else None
        )
    except (ValueError, httpx2.InvalidURL) as error:
        raise errors.model_load_failed(
            "ollama", f"OLLAMA_BASE_URL or OLLAMA_TIMEOUT_SECONDS: {error}"
        ) from None


def _info(said: Body, options: LoadOptions) -> ModelInfo:
    """What `/api/show` says of a model."""
    facts = said.get("model_info") or {}
    architecture = facts.get("general.architecture", "")
    trained = facts.get(f"{architecture}.context_length", 0)
    able = said.get("capabilities") or ["completion"]
    served = {"completion": ["generate", "chat"], "embedding": ["embed"]}
    return ModelInfo(
        context_length=options.context_length or trained,
        context_train_size=trained,
        embedding_dim=facts.get(f"{architecture}.embedding_length", 0),
        chat_template="completion" in able,
        capabilities=[method for each in able for method in served.get(each, [])],
        device="ollama",
        device_reason="the Ollama server decides",
        details={"ollama": said.get("details") or {}},
    )


def _refuse_unheeded(request: GenerateRequest) -> None:
    """Refuse what would not be heeded: silence would look like assent. Raises unsupported."""
    asked = {
        "prompts of token ids": isinstance(request.prompt, list),
        "logit_bias": bool(request.logit_bias),
        "logprobs": request.logprobs is not None,
        "ignore_eos": request.ignore_eos,
        "deterministic": request.deterministic,
        "prefix_cache: false": not request.prefix_cache,
        "tools": bool(request.tools) or any(each.tool_calls for each in request.messages or ()),
        "documents": bool(request.documents),
        "chat_template_kwargs": bool(request.template_options),
        "response_format": request.form is not None,
    }
    for feature, wanted in asked.items():
        if wanted:
            raise errors.unsupported(f"{feature} for Ollama models")
