"""Content rules: what they find, what they leave alone, and how a classifier is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from native_host.guard.content import BUILT_IN, ContentRules, RulesError, normalised
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import (
    AssistantMessage,
    ChatMessage,
    ChatParams,
    ChatResult,
    DetokenizeResult,
    EmbedParams,
    EmbedResult,
    FunctionDescription,
    GenerateParams,
    Params,
    RankedDocument,
    RerankParams,
    RerankResult,
    Timings,
    Tool,
    ToolCall,
    ToolFunction,
    Usage,
)

USAGE = Usage(prompt_tokens=1, completion_tokens=1, cached_tokens=0)
RULES = {"rules": [{"name": "no-secrets", "pattern": r"(?i)\bsecret word\b"}]}


def rules(tmp_path: Path, document: object) -> ContentRules:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(document))
    return ContentRules.load(file)


async def ask_nobody(method: str, params: Params) -> object:
    raise AssertionError(f"{method} was asked")


def said(content: str | list[dict[str, object]], role: str = "user") -> ChatParams:
    return ChatParams(messages=[ChatMessage(role=role, content=content)])  # type: ignore[arg-type]  # a role


@pytest.mark.parametrize(
    "params",
    [
        GenerateParams(prompt="the Secret Word is"),
        GenerateParams(prompts=["harmless", "secret word"]),
        said("tell me the secret word"),
        said("secret word", "system"),
        said([{"type": "text", "text": "the sec"}, {"type": "text", "text": "ret word"}]),
        said("ｓｅｃｒｅｔ　ｗｏｒｄ"),
        said("se\u200bcret wo\u00adrd"),
        said("secret\u00a0word"),
        ChatParams(
            messages=[
                ChatMessage(
                    role="assistant",
                    tool_calls=[ToolCall(function=ToolFunction("f", {"x": "secret word"}))],
                )
            ]
        ),
        ChatParams(
            messages=[ChatMessage(role="user", content="x")],
            tools=[Tool(type="function", function=FunctionDescription(name="f", description="secret word"))],
        ),
        ChatParams(messages=[ChatMessage(role="user", content="x")], documents=[{"text": "secret word"}]),
        ChatParams(
            messages=[ChatMessage(role="user", content="x")], chat_template_kwargs={"x": ["secret word"]}
        ),
        ChatParams(messages=[ChatMessage(role="assistant", content="x", reasoning="secret word")]),
        ChatParams(messages=[ChatMessage(role="tool", content="x", tool_call_id="secret word")]),
        ChatParams(
            messages=[
                ChatMessage(role="assistant", tool_calls=[ToolCall(function=ToolFunction("secret word", {}))])
            ]
        ),
        ChatParams(
            messages=[
                ChatMessage(
                    role="assistant", tool_calls=[ToolCall(id="secret word", function=ToolFunction("f", {}))]
                )
            ]
        ),
        EmbedParams(input="secret word"),
        EmbedParams(input=["x", "secret word"]),
        RerankParams(query="secret word", documents=["x"]),
        RerankParams(query="x", documents=["x", "secret word"]),
    ],
)
async def test_a_text_that_breaks_a_rule_is_refused_in_its_name(tmp_path: Path, params: Params) -> None:
    with pytest.raises(RpcError) as refused:
        await rules(tmp_path, RULES).check(params, ask_nobody)
    assert refused.value.kind == "content_rejected"
    assert refused.value.data["rule"] == "no-secrets"


@pytest.mark.parametrize(
    "params", [GenerateParams(prompt="a secretword"), said("no word of it"), EmbedParams(input=["", "x"])]
)
async def test_other_texts_pass(tmp_path: Path, params: Params) -> None:
    await rules(tmp_path, RULES).check(params, ask_nobody)


async def test_a_prompt_of_tokens_is_read_too(tmp_path: Path) -> None:
    asked = []

    async def ask(method: str, params: Params) -> object:
        asked.append((method, params))
        return DetokenizeResult(text="the secret word")

    with pytest.raises(RpcError, match="no-secrets"):
        await rules(tmp_path, RULES).check(GenerateParams(prompt=[1, 2], model="m"), ask)
    assert asked[0][0] == "detokenize"


async def test_no_text_makes_a_pattern_slow(tmp_path: Path) -> None:
    """An engine that goes back over a text would take longer than the world for this."""
    slow = rules(tmp_path, {"rules": [{"name": "slow", "pattern": "(a+)+$"}]})
    await slow.check(GenerateParams(prompt="a" * 50_000 + "b"), ask_nobody)


def chat_answer(text: str) -> ChatResult:
    return ChatResult(
        message=AssistantMessage(content=text),
        finish_reason="stop",
        model="m",
        usage=USAGE,
        timings=Timings(),
        seed=0,
    )


@pytest.mark.parametrize(("verdict", "let_in"), [("safe", True), ("unsafe: violence", False)])
async def test_a_model_that_is_asked(tmp_path: Path, verdict: str, let_in: bool) -> None:
    classifier = {
        "by": "chat",
        "name": "harm",
        "model": "judge",
        "reject": "^unsafe",
        "prompt": "Is this?\n{text}",
    }
    asked: list[ChatParams] = []

    async def ask(method: str, params: Params) -> object:
        assert method == "chat"
        assert isinstance(params, ChatParams)
        asked.append(params)
        return chat_answer(verdict)

    found = rules(tmp_path, {"classifiers": [classifier]})
    if let_in:
        await found.check(said("hello {text}"), ask)
    else:
        with pytest.raises(RpcError, match="harm"):
            await found.check(said("hello {text}"), ask)
    assert asked[0].messages[0].content == "Is this?\nhello {text}"
    assert (asked[0].model, asked[0].temperature) == ("judge", 0)


@pytest.mark.parametrize(("score", "let_in"), [(0.49, True), (0.5, False)])
async def test_a_reranker_that_is_asked(tmp_path: Path, score: float, let_in: bool) -> None:
    classifier = {"by": "rerank", "name": "off-topic", "model": "r", "query": "gambling", "threshold": 0.5}

    async def ask(method: str, params: Params) -> object:
        assert isinstance(params, RerankParams)
        assert (params.query, params.documents, params.model) == ("gambling", ["hello"], "r")
        return RerankResult(results=[RankedDocument(index=0, score=score)], model="r", usage=USAGE)

    found = rules(tmp_path, {"classifiers": [classifier]})
    if let_in:
        await found.check(said("hello"), ask)
    else:
        with pytest.raises(RpcError, match="off-topic"):
            await found.check(said("hello"), ask)


@pytest.mark.parametrize(("vector", "let_in"), [([1.0, 0.0], False), ([0.0, 1.0], True), ([-1.0, 0.0], True)])
async def test_texts_like_an_example(tmp_path: Path, vector: list[float], let_in: bool) -> None:
    classifier = {"by": "embed", "name": "like", "model": "e", "examples": ["bad"], "threshold": 0.9}
    asked = []

    async def ask(method: str, params: Params) -> object:
        assert isinstance(params, EmbedParams)
        asked.append(params.input)
        found = [[1.0, 0.0] if text == "bad" else vector for text in params.input]
        return EmbedResult(embeddings=found, dimensions=2, model="e", usage=USAGE)

    found = rules(tmp_path, {"classifiers": [classifier]})
    for _ in range(2):
        if let_in:
            await found.check(said("hello"), ask)
        else:
            with pytest.raises(RpcError, match="like"):
                await found.check(said("hello"), ask)
    assert asked == [["bad"], ["hello"], ["hello"]]  # the examples once


async def test_a_classifier_that_cannot_answer_lets_nothing_pass(tmp_path: Path) -> None:
    classifier = {"by": "chat", "name": "harm", "model": "judge", "reject": "^unsafe"}

    async def ask(method: str, params: Params) -> object:
        raise errors.model_not_found("judge", [])

    with pytest.raises(RpcError, match="no model 'judge'"):
        await rules(tmp_path, {"classifiers": [classifier]}).check(said("hello"), ask)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"rules": [{"name": "x", "pattern": "("}]}, "the pattern of 'x'"),
        ({"rules": [{"name": "x", "pattern": r"(a)\1"}]}, "the pattern of 'x'"),
        ({"rules": [{"name": "", "pattern": "a"}]}, "name"),
        ({"rules": [{"name": "x"}]}, "pattern"),
        ({"rule": []}, "rule"),
        ({"classifiers": [{"by": "luck", "name": "x", "model": "m"}]}, "luck"),
        (
            {"classifiers": [{"by": "chat", "name": "x", "model": "m", "reject": "y", "prompt": "z"}]},
            "lacks {text}",
        ),
        ({"classifiers": [{"by": "embed", "name": "x", "model": "m", "examples": []}]}, "examples"),
        ([], "object"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, document: object, told: str) -> None:
    with pytest.raises(RulesError, match=told):
        rules(tmp_path, document)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="cannot be read"):
        ContentRules.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "private-key"),
        ("my key is AKIAABCDEFGHIJKLMNOP", "access-token"),
        ("nh_" + "a" * 43, "access-token"),
        ("pay to DE89 3704 0044 0532 0130 00", "iban"),
        ("What is the capital of France?", None),
        ("The RFC 9110 HTTP/1.1 SHOULD NOT be read as UPPERCASE TEXT", None),
    ],
)
async def test_the_built_in_rules(text: str, rule: str | None) -> None:
    found = ContentRules.load(BUILT_IN)
    if rule is None:
        await found.check(said(text), ask_nobody)
        return
    with pytest.raises(RpcError) as refused:
        await found.check(said(text), ask_nobody)
    assert refused.value.data["rule"] == rule


def test_plain_text_is_normalised_to_itself() -> None:
    assert normalised("plain\ttext\n") == "plain\ttext\n"
    assert normalised("ﬁne\u202e") == "fine"
