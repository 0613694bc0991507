"""Models that a TabAgent tree's own `llama-server` computes, as a child of this worker: BitNet models first
of all, which the runtime pack does not run.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx2
import msgspec
import tabagent_model

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.workers.backends import BackendUnusableError, Cancelled, Progress
from native_host.workers.backends.answer import Answer, Reason
from native_host.workers.backends.engine_requests import require_tokens
from native_host.workers.backends.failures import give_up, logged_failure
from native_host.workers.backends.llama_server_process import ServerProcess, arguments, find_server, help_of
from native_host.workers.backends.prompts import require_room
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
    TopToken,
)

PARALLEL = 4
"""Sequences computed at once where `models.json` says nothing; each has `context_length` cells of its own."""
LONGEST_CONTEXT = 8192
BITNET_CONTEXT = 4096
"""Of BitNet b1.58 2B4T; what a file in BitNet's own types says cannot be read here."""
_BITNET_ONLY = "BitNet's own binaries"
"""How the refusal of a file in such types is known."""
NO_TOKEN = -1
"""Stands for a token that an old server does not name."""
_PENALTY_WINDOW = 64
_ENDING_S = 1.0
"""How long a server whose connections break may take to be gone."""
_SEEDS = 2**32 - 1
"""Its seeds; the one after the last means a random one."""

_REFUSED = {
    "adapters": "adapters",
    "kv_cache_tokens": "kv_cache_tokens",
    "context_shift": "context_shift",
    "spill_bytes": "spill_memory",
}
"""Options that are not passed on, with the keys that give them."""


class LlamaServerBackend(RemoteBackend):
    """One model in one `llama-server`.

    A slot's KV cache serves again only whom it was computed for: nobody learns from timings what others
    asked.
    """

    def __init__(self, path: str, parallel: int) -> None:
        super().__init__(parallel)
        self._path = path
        self._owners: dict[int, int | None] = dict.fromkeys(range(parallel))
        """Of each free slot, whose tokens it holds."""
        self._server: ServerProcess | None = None
        self._watch: asyncio.Task[None] | None = None
        self.info = ModelInfo(0)

    @classmethod
    def open(cls, path: str, options: LoadOptions, progress: Progress) -> LlamaServerBackend:
        """Start the best server for this model and have it load that.

        Raises model_load_failed, invalid_model_file and unsupported.
        """
        for option, key in _REFUSED.items():
            if getattr(options, option):
                raise errors.unsupported(f"{key} by the backend 'llama_server'")
        needs_bitnet, trained = _facts(path)
        binary = find_server(path, needs_bitnet)
        context_length = options.context_length or min(trained, LONGEST_CONTEXT)
        backend = cls(path, options.parallel or PARALLEL)
        line = arguments(path, options, context_length, options.parallel or PARALLEL, help_of(binary))
        try:
            backend.call(backend._launch(binary, line, Path(path).stat().st_size, progress))
        except BaseException:
            backend.close()
            raise
        return backend

    async def _launch(self, binary: Path, line: list[str], size: int, progress: Progress) -> None:
        try:
            server = await ServerProcess.start(binary, line)
        except OSError as error:
            raise errors.model_load_failed(self._path, f"{binary} cannot be started: {error}") from None
        self._server = server
        self.connect(server.client)
        await server.ready(self._path, lambda resident: progress(min(resident / size, 0.99)))
        self._watch = asyncio.get_running_loop().create_task(self._end_with(server))
        self.info = await self._described()

    async def _end_with(self, server: ServerProcess) -> None:
        """Without its server this worker is of no use."""
        give_up(_end(await server.ended()))

    async def _described(self) -> ModelInfo:
        """What the server says of its model."""
        props = await self.ask("/props")
        meta = (await self.ask("/v1/models"))["data"][0].get("meta") or {}
        chats = bool(props.get("chat_template"))
        return ModelInfo(
            context_length=props["default_generation_settings"]["n_ctx"],
            context_train_size=meta.get("n_ctx_train", 0),
            vocab_size=meta.get("n_vocab", 0),
            embedding_dim=meta.get("n_embd", 0),
            chat_template=chats,
            capabilities=["generate", "tokenize"] + (["chat"] if chats else []),
            details={"build": props.get("build_info", "")},
        )

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """Queue a request; a conversation goes through the model's chat template first."""
        if request.adapters:
            raise errors.adapter_not_found(request.adapters[0].name)
        _refuse_unheeded(request)
        # A token that its model does not have would kill the server.
        require_tokens("logit_bias", list(request.logit_bias), self.info.vocab_size)
        prompt = self._prompt_tokens(request)
        if len(prompt) >= self.info.context_length:
            raise errors.input_too_long(self.info.context_length - 1, tokens=len(prompt))
        self.enqueue(request_id, request, _body(request, prompt), len(prompt))

    def _prompt_tokens(self, request: GenerateRequest) -> list[int]:
        if request.messages is not None:
            asked = TemplateRequest(
                request.messages, documents=request.documents, options=request.template_options
            )
            text = self.apply_template(asked)
            require_room(text, self.info.context_length)
            # A template writes what the model wants at the beginning, where it wants something.
            return self.tokenize(text, False, True)
        if isinstance(request.prompt, str):
            require_room(request.prompt, self.info.context_length)
            return self.tokenize(request.prompt, True, False)
        tokens = request.prompt or []
        require_tokens("prompt", tokens, self.info.vocab_size)
        if not tokens:
            raise errors.invalid_params("prompt", "is empty")
        return tokens

    async def generate(self, asked: Asked) -> Reason:
        """Stream `/completion`."""
        request = asked.answer.request
        owner = request.identity if request.prefix_cache and not request.deterministic else None
        slot = self._take_slot(owner)
        asked.body["id_slot"] = slot
        asked.body["cache_prompt"] = owner is not None and self._owners[slot] == owner
        del self._owners[slot]
        try:
            asked.answer.start()
            completion = _Completion(asked.answer)
            async with self.lines("/completion", asked) as lines:
                async for line in lines:
                    if completion.heard(line):
                        return "stop"
        finally:
            self._owners[slot] = owner
        if completion.reason is None:
            raise BackendUnusableError("llama-server broke off in the middle of an answer")
        return completion.reason

    def _take_slot(self, owner: int | None) -> int:
        """A free slot: best the caller's own. There is one: no more requests are served than there are."""
        own = [slot for slot, held_by in self._owners.items() if held_by == owner]
        return own[0] if own else next(iter(self._owners))

    def refusal(self, status: int, said: Body) -> RpcError:
        """Its errors have a type and a message."""
        problem = said.get("error")
        problem = problem if isinstance(problem, dict) else {}
        if problem.get("type") == "exceed_context_size_error":
            return errors.input_too_long(problem.get("n_ctx", 0), tokens=problem.get("n_prompt_tokens", 0))
        message = str(problem.get("message", f"HTTP status {status}"))
        if status == httpx2.codes.BAD_REQUEST:
            return errors.invalid_params("", f"llama-server: {message}")
        if status in (httpx2.codes.NOT_FOUND, httpx2.codes.NOT_IMPLEMENTED):
            return errors.unsupported(f"by this llama-server: {message}")
        return logged_failure(f"llama-server: {message}")

    async def lost(self, error: httpx2.HTTPError) -> RpcError:
        """Most likely it is ending, and this worker with it; else one connection broke."""
        if self._server is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                give_up(_end(await asyncio.wait_for(self._server.ended(), _ENDING_S)))
        return logged_failure(f"llama-server: {type(error).__name__}: {error}")

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """Not by this backend."""
        raise errors.unsupported("embeddings by the backend 'llama_server'")

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """Not by this backend."""
        raise errors.unsupported("reranking by the backend 'llama_server'")

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids, by the server."""
        body = {"content": text, "add_special": add_special, "parse_special": parse_special}
        return list(self.call(self.ask("/tokenize", body))["tokens"])

    def detokenize(self, tokens: list[int]) -> str:
        """Token ids to text, by the server."""
        require_tokens("tokens", tokens, self.info.vocab_size)
        return str(self.call(self.ask("/detokenize", {"tokens": tokens}))["content"])

    def apply_template(self, request: TemplateRequest) -> str:
        """The model's own chat template, by the server."""
        if request.documents:
            raise errors.unsupported("documents by the backend 'llama_server'")
        body: Body = {
            "messages": [each.fields() for each in request.messages],
            "add_generation_prompt": request.add_generation_prompt,
        }
        if request.tools:
            body["tools"] = request.tools
        if request.options:
            body["chat_template_kwargs"] = request.options
        return str(self.call(self.ask("/apply-template", body))["prompt"])

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self.call(self._stop(self._server))
        super().close()

    async def _stop(self, server: ServerProcess) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await server.stop()


def _refuse_unheeded(request: GenerateRequest) -> None:
    """Refuse what would not be heeded: silence would look like assent. Raises unsupported."""
    if request.form is not None:
        raise errors.unsupported("response_format by the backend 'llama_server'")
    if request.tools or any(message.tool_calls for message in request.messages or ()):
        raise errors.unsupported("tools by the backend 'llama_server'")


def _end(code: int) -> str:
    return f"its llama-server ended with code {code}"


def _facts(path: str) -> tuple[bool, int]:
    """Whether only BitNet's own builds run a file, and the context that its model was trained for.

    Raises invalid_model_file.
    """
    try:
        facts = tabagent_model.inspect_gguf(path)
    except tabagent_model.InvalidGgufError as error:
        if _BITNET_ONLY in str(error):
            return True, BITNET_CONTEXT
        raise errors.invalid_model_file(path, str(error).removeprefix(f"{path}: ")) from None
    except tabagent_model.ModelFileNotFoundError:
        raise errors.invalid_model_file(path, "there is no such file") from None
    return False, facts["context_length"] or LONGEST_CONTEXT


def _body(request: GenerateRequest, prompt: list[int]) -> Body:
    """What `/completion` is sent. Stop strings are ours to find: all backends find them in the same way."""
    body: Body = {
        "prompt": prompt,
        "stream": True,
        "return_tokens": True,
        "n_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "min_p": request.min_p,
        "repeat_penalty": request.repeat_penalty,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "repeat_last_n": _PENALTY_WINDOW,
        "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
        "seed": request.seed % _SEEDS,
        "ignore_eos": request.ignore_eos,
        "logit_bias": [[token, bias] for token, bias in request.logit_bias.items()],
    }
    if request.logprobs is not None:
        body["n_probs"] = max(1, request.logprobs)  # 0 would mean none at all
    return body


class _Completion:
    """Takes the lines of a streamed `/completion`.

    The token that ends an answer comes like any other, but without text, and only the end says that it was
    one: tokens without text wait for what comes next.
    """

    def __init__(self, answer: Answer) -> None:
        self.reason: Reason | None = None
        """Why the server ended the answer, once it has."""
        self._answer = answer
        self._textless: list[TokenInfo] = []

    def heard(self, line: str) -> bool:
        """Whether a stop string is complete. Raises BackendUnusableError and unsupported."""
        if line.startswith("error: "):
            raise BackendUnusableError(f"llama-server: {line}")
        if not line.startswith("data: "):
            return False
        said = msgspec.json.decode(line.removeprefix("data: "), type=Body)
        if "error" in said:
            raise BackendUnusableError(f"llama-server: {said['error']}")
        if not said.get("stop"):
            return self._part(said)
        self._end(said)
        return False

    def _part(self, said: Body) -> bool:
        (token,) = said.get("tokens") or [NO_TOKEN]
        self._textless.append(_token(token, said, self._answer.request.logprobs))
        if not said["content"]:
            return False
        self._take_textless(but=1)
        return self._answer.take(self._textless.pop(), said["content"])

    def _end(self, said: Body) -> None:
        if said.get("stop_type") == "eos" or said.get("stopped_eos"):
            self._take_textless(but=1)
        else:
            self._take_textless(but=0)
        self._answer.cached_tokens = said.get("timings", {}).get("cache_n", 0)
        at_limit = said.get("stop_type") == "limit" or said.get("stopped_limit")
        self.reason = "length" if at_limit else "stop"

    def _take_textless(self, but: int) -> None:
        while len(self._textless) > but:
            self._answer.take(self._textless.pop(0), "")


def _token(token: int, said: Body, count: int | None) -> TokenInfo:
    """A token, with its log-probabilities where they were asked for. Raises unsupported."""
    if count is None:
        return TokenInfo(token)
    told = next((each for each in said.get("completion_probabilities", []) if each.get("id") == token), None)
    if told is None or "logprob" not in told:
        raise errors.unsupported("logprobs by this llama-server")
    top = [TopToken(each["id"], each["token"], each["logprob"]) for each in told["top_logprobs"][:count]]
    return TokenInfo(token, told["token"], told["logprob"], top)
