"""The same model says the same, whichever way it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import tabagent_model

from native_host.client import Host
from native_host.client.asking import Generated, GeneratedMany

PROMPT = "the host answers"
QUESTION = "what is a worker?"


@pytest.fixture
def model(tiny_model: Path) -> Iterator[tabagent_model.PyModel]:
    with tabagent_model.PyModel() as model:
        model.load(tabagent_model.get_optimal_binary("llama.dll"), str(tiny_model), threads=1)
        yield model


T = TypeVar("T")


def deterministic(host: Host, result: type[T], **params: object) -> T:
    """Greedy, and computed in the same steps whoever else asks: only so are a crowd's sums those of a lone
    run.
    """
    asked = {**params, "max_tokens": 24, "temperature": 0.0, "deterministic": True}
    return msgspec.convert(host.call("generate", asked), result)


def test_greedy_by_the_extension_by_stdio_and_by_the_socket(
    model: tabagent_model.PyModel, host: Host, socket_host: Host
) -> None:
    direct = model.generate(PROMPT, 48, temperature=0.0)
    by_stdio = host.generate(PROMPT, max_tokens=48, temperature=0.0)
    by_socket = socket_host.generate(PROMPT, max_tokens=48, temperature=0.0)
    streamed = "".join(host.stream(PROMPT, max_tokens=48, temperature=0.0))
    assert direct
    assert direct == by_stdio.text == by_socket.text == streamed
    assert by_stdio.usage.completion_tokens <= 48


def test_chat_by_the_extension_and_by_the_host(model: tabagent_model.PyModel, host: Host) -> None:
    direct = model.chat([{"role": "user", "content": QUESTION}], 32, temperature=0.0)
    by_host = host.chat(QUESTION, max_tokens=32, temperature=0.0).result
    assert by_host.message.content == direct
    assert by_host.model == "tiny"


def test_a_seed_replays_exactly_and_others_differ(host: Host) -> None:
    first = host.generate(PROMPT, max_tokens=48, temperature=1.0)
    again = host.generate(PROMPT, max_tokens=48, temperature=1.0, seed=first.seed)
    other = host.generate(PROMPT, max_tokens=48, temperature=1.0, seed=first.seed + 1)
    assert again.text == first.text
    assert other.text != first.text
    assert first.seed < 2**53


def test_several_prompts_equal_each_alone(host: Host) -> None:
    prompts = ["one", "two words", PROMPT]
    together = deterministic(host, GeneratedMany, prompts=prompts)
    alone = [deterministic(host, Generated, prompt=prompt).text for prompt in prompts]
    assert [each.text for each in together.texts] == alone


def test_token_ids_are_a_prompt_too(host: Host) -> None:
    tokens = host.tokenize(PROMPT)
    assert host.detokenize(tokens) == PROMPT
    by_text = host.generate(PROMPT, max_tokens=16, temperature=0.0)
    by_tokens = host.generate(tokens, max_tokens=16, temperature=0.0)
    assert by_text.text == by_tokens.text
    assert by_text.usage.prompt_tokens == len(tokens)


def test_requests_from_16_threads_at_once_are_all_answered(host: Host) -> None:
    def ask(index: int) -> Generated:
        return host.generate(f"{PROMPT} {index}", max_tokens=24, temperature=0.0, ignore_eos=True)

    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(ask, range(16)))
    assert [answer.usage.completion_tokens for answer in at_once] == [24] * 16


def test_deterministic_requests_say_the_same_in_a_crowd(host: Host) -> None:
    def ask(index: int) -> str:
        if index % 2:
            return host.generate(f"{PROMPT} {index}", max_tokens=24, ignore_eos=True).text
        return deterministic(host, Generated, prompt=f"{PROMPT} {index}").text

    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(ask, range(16)))
    assert at_once[::2] == [ask(index) for index in range(0, 16, 2)]


def test_a_stop_string_is_never_sent(host: Host) -> None:
    whole = host.generate(PROMPT, max_tokens=40, temperature=0.0).text
    stop = whole[len(whole) // 2 :][:3]
    stream = host.stream(PROMPT, max_tokens=40, temperature=0.0, stop=stop)
    assert "".join(stream) == whole[: whole.index(stop)]
    assert stream.result.finish_reason == "stop"


def test_log_probabilities(host: Host) -> None:
    answer = host.generate(PROMPT, max_tokens=8, temperature=0.0, logprobs=3)
    assert answer.logprobs is not None
    assert len(answer.logprobs) == answer.usage.completion_tokens
    for token in answer.logprobs:
        assert len(token.top) == 3
        assert token.top[0].token == token.token
        assert token.logprob <= 0


def test_the_template_that_chat_uses(host: Host) -> None:
    messages = [{"role": "user", "content": QUESTION}]
    prompt = host.call("models.apply_template", {"messages": messages})
    assert isinstance(prompt, dict)
    assert QUESTION in str(prompt["prompt"])
