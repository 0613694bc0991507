"""Content rules: named patterns, and a classifier that is a model of this host, which a request's texts must
pass before a model reads them.

Patterns are RE2's, so that no text makes them slow. They see the text normalised (NFKC, without invisible
characters), so that look-alike spellings of the same letters are found.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from native_host.guard.texts import texts_of, tokens_of
from native_host.protocol import errors
from native_host.protocol.messages import (
    ChatMessage,
    ChatParams,
    ChatResult,
    DetokenizeParams,
    DetokenizeResult,
    EmbedParams,
    EmbedResult,
    GenerateParams,
    Params,
    RerankParams,
    RerankResult,
)

BUILT_IN = Path(__file__).with_name("content_rules.json")
"""The rules where they are switched on and no file is named."""

_Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

Ask = Callable[[str, Params], Awaitable[object]]
"""Has the host's service answer a method: how a classifier is asked."""


class RulesError(ValueError):
    """The file of content rules cannot be used; the text says why."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text in which `pattern` is found is refused in the name of the rule."""

    name: _Name
    pattern: str


class ChatClassifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="chat", tag_field="by"):
    """A model is asked; its answer must not match `reject`. `{text}` in `prompt` stands for the text."""

    name: _Name
    model: str
    reject: str
    prompt: str = "{text}"
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16


class RerankClassifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rerank", tag_field="by"):
    """A cross-encoder rates the text as an answer to `query`; from `threshold` on it is refused."""

    name: _Name
    model: str
    query: str
    threshold: float


class EmbedClassifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="embed", tag_field="by"):
    """A text as similar to one of the `examples` as `threshold` (cosine) is refused."""

    name: _Name
    model: str
    examples: Annotated[list[str], msgspec.Meta(min_length=1, max_length=64)]
    threshold: Annotated[float, msgspec.Meta(ge=-1, le=1)] = 0.7


Classifier = ChatClassifier | RerankClassifier | EmbedClassifier


class RuleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    rules: list[Rule] = []
    classifiers: list[Classifier] = []


class ContentRules:
    """The rules of one file. `check` is asked for each request."""

    def __init__(self, found: RuleFile) -> None:
        """Raises RulesError where a pattern is none."""
        self._rules = [(rule.name, _compiled(rule.name, rule.pattern)) for rule in found.rules]
        self._classifiers = [_BY[type(one)](one) for one in found.classifiers]

    @classmethod
    def load(cls, file: Path) -> ContentRules:
        """Read a file of rules. Raises RulesError."""
        try:
            return cls(msgspec.json.decode(file.read_bytes(), type=RuleFile))
        except OSError as error:
            raise RulesError(f"the file of content rules cannot be read: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RulesError(f"{file}: {error}") from error

    async def check(self, params: Params, ask: Ask) -> None:
        """Raise content_rejected in the name of the first rule that a text breaks.

        A classifier that cannot answer refuses by raising what kept it from answering.
        """
        texts = [normalised(text) for text in texts_of(params)]
        if tokens := tokens_of(params):
            assert isinstance(params, GenerateParams)
            plain = await ask("detokenize", DetokenizeParams(tokens=tokens, model=params.model))
            assert isinstance(plain, DetokenizeResult)
            texts.append(normalised(plain.text))
        texts = [text for text in texts if text]
        for name, pattern in self._rules:
            if any(pattern.search(text) for text in texts):
                raise errors.content_rejected(name)
        for classify in self._classifiers if texts else ():
            await classify.check(texts, ask)


def normalised(text: str) -> str:
    """The text as rules see it: compatible characters are one, and what nobody sees is not there."""
    composed = unicodedata.normalize("NFKC", text)
    if composed.isascii():
        return composed
    return "".join(character for character in composed if unicodedata.category(character) != "Cf")


class _AskChat:
    def __init__(self, own: ChatClassifier) -> None:
        self._own = own
        self._reject = _compiled(own.name, own.reject)
        if "{text}" not in own.prompt:
            raise RulesError(f"the prompt of the classifier {own.name!r} lacks {{text}}")

    async def check(self, texts: Sequence[str], ask: Ask) -> None:
        for text in texts:
            message = ChatMessage(role="user", content=self._own.prompt.replace("{text}", text))
            params = ChatParams(
                messages=[message], model=self._own.model, max_tokens=self._own.max_tokens, temperature=0.0
            )
            answer = await ask("chat", params)
            assert isinstance(answer, ChatResult)
            if self._reject.search(answer.message.content):
                raise errors.content_rejected(self._own.name)


class _AskRerank:
    def __init__(self, own: RerankClassifier) -> None:
        self._own = own

    async def check(self, texts: Sequence[str], ask: Ask) -> None:
        own = self._own
        answer = await ask("rerank", RerankParams(query=own.query, documents=list(texts), model=own.model))
        assert isinstance(answer, RerankResult)
        if any(each.score >= own.threshold for each in answer.results):
            raise errors.content_rejected(own.name)


class _AskEmbed:
    def __init__(self, own: EmbedClassifier) -> None:
        self._own = own
        self._examples: list[list[float]] | None = None

    async def check(self, texts: Sequence[str], ask: Ask) -> None:
        if self._examples is None:
            self._examples = await self._vectors([normalised(each) for each in self._own.examples], ask)
        for vector in await self._vectors(texts, ask):
            if any(_product(vector, example) >= self._own.threshold for example in self._examples):
                raise errors.content_rejected(self._own.name)

    async def _vectors(self, texts: Sequence[str], ask: Ask) -> list[list[float]]:
        """Of length 1."""
        answer = await ask("embed", EmbedParams(input=list(texts), model=self._own.model))
        assert isinstance(answer, EmbedResult)
        return answer.embeddings


_BY: dict[type, Callable[..., _AskChat | _AskRerank | _AskEmbed]] = {
    ChatClassifier: _AskChat,
    RerankClassifier: _AskRerank,
    EmbedClassifier: _AskEmbed,
}


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


class _Pattern(Protocol):
    def search(self, text: str) -> object: ...


def _compiled(name: str, pattern: str) -> _Pattern:
    try:
        import re2
    except ImportError:
        raise RulesError("content rules need google-re2; install native-host[gateway]") from None
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: _Pattern = re2.compile(pattern, options=options)
    except re2.error as error:
        raise RulesError(f"the pattern of {name!r}: {_words(error)}") from None
    return compiled


def _words(error: Exception) -> str:
    told = error.args[0] if error.args else error
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)
