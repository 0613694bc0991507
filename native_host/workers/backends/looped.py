"""What language models have in common whose steps Python computes: a tokenizer and the engine's loop."""

from __future__ import annotations

from native_host.protocol import errors
from native_host.workers.backends import Cancelled
from native_host.workers.backends.batching import LONGEST_CONTEXT, PARALLEL, StepLoop, Vocabulary
from native_host.workers.backends.chats import Chats
from native_host.workers.backends.text import FolderText
from native_host.workers.messages import (
    EmbedRequest,
    EmbedResult,
    GenerateRequest,
    LoadOptions,
    ModelInfo,
    RerankRequest,
    RerankResult,
    TemplateRequest,
)


class LoopedModel:
    """The methods of a backend for a model that generates, over a `StepLoop`."""

    def __init__(self, text: FolderText, vocabulary: Vocabulary, loop: StepLoop, info: ModelInfo) -> None:
        self.info = info
        self._text = text
        self._vocabulary = vocabulary
        self._loop = loop
        self._chats = Chats(text.chat_template, text.prompt_pieces, self._control_token)
        self.cancel = loop.cancel
        self.pause = loop.pause
        self.resume = loop.resume
        self.drain = loop.drain
        self.fileno = loop.fileno

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """Queue a request; a conversation goes through the model's chat template first."""
        plan = self._chats.plan(request) if request.messages is not None else None
        if plan is None:
            prompt = self._text.prompt_tokens(request, self.info.context_length)
        else:
            prompt = self._text.chat_tokens(plan.prompt, self.info.context_length)
        self._loop.submit(request_id, prompt, request, plan)

    def _control_token(self, text: str) -> int | None:
        """The id of a control token by how it is written."""
        token = self._text.token(text)
        return token if token in self._vocabulary.control else None

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """A language model has no vectors to give."""
        raise errors.unsupported("embeddings of this model: it is a language model")

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """A language model has no scores to give."""
        raise errors.unsupported("reranking by this model: it is a language model")

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids."""
        return self._text.tokenize(text, add_special, parse_special)

    def detokenize(self, tokens: list[int]) -> str:
        """Token ids to text."""
        return self._text.detokenize(tokens, self._vocabulary)

    def apply_template(self, request: TemplateRequest) -> str:
        """What the model is given for a conversation."""
        return self._chats.prompt(request)

    def close(self) -> None:
        """Free the model."""
        self._loop.close()


def room(options: LoadOptions, trained: int) -> tuple[int, int]:
    """The longest sequence, and how many at once, as `models.json` and the trained length have it."""
    longest = options.context_length or min(trained, LONGEST_CONTEXT)
    parallel = options.parallel or PARALLEL
    if options.kv_cache_tokens is not None:
        longest = min(longest, options.kv_cache_tokens)
        parallel = max(1, min(parallel, options.kv_cache_tokens // longest))
    return longest, parallel


def capabilities(text: FolderText) -> list[str]:
    """What a language model can do with this tokenizer."""
    return ["generate", "tokenize"] + (["chat"] if text.chat_template is not None else [])
