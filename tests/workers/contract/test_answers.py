"""What is generated: the same by every backend, in a stream that adds up."""

from __future__ import annotations

import itertools

import pytest

from native_host.workers.messages import (
    ChatMessage,
    DetokenizeRequest,
    Event,
    Piece,
    Started,
    TemplateRequest,
    TokenizeRequest,
)

from .asking import QUESTIONS, ask, go_on
from .loaded import Loaded, end, text, tokens


def test_loading_tells_how_far_it_is(loaded: Loaded) -> None:
    fractions = loaded.fractions
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert all(before <= after for before, after in itertools.pairwise(fractions))


def test_what_it_says_of_itself(loaded: Loaded, reference: Loaded) -> None:
    ours, theirs = loaded.worker.info, reference.worker.info
    assert {"generate", "chat", "tokenize"} <= set(ours.capabilities)
    assert (ours.context_length, ours.vocab_size) == (theirs.context_length, theirs.vocab_size)
    assert ours.chat_template


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_answers_are_those_of_the_reference(loaded: Loaded, reference: Loaded, question: str) -> None:
    ours, theirs = loaded.events(ask(question)), reference.events(ask(question))
    assert tokens(ours) == tokens(theirs)
    assert text(ours) == text(theirs)
    assert end(ours).reason == end(theirs).reason
    assert end(ours).usage.prompt_tokens == end(theirs).usage.prompt_tokens


def test_prompts_become_the_same_tokens(loaded: Loaded, reference: Loaded) -> None:
    messages = [ChatMessage("system", "Be brief."), ChatMessage("user", "Grüße, 你好 🙂 <|im_end|> x")]
    tools = [{"type": "function", "function": {"name": "look"}}]
    for request in (
        TemplateRequest(messages),
        TemplateRequest(messages, add_generation_prompt=False),
        TemplateRequest(messages, tools=tools, documents=[{"text": "x"}], options={"enable_thinking": True}),
    ):
        ours = loaded.run(loaded.worker.apply_template(request))
        assert ours == reference.run(reference.worker.apply_template(request))
    for special, parsed in itertools.product((True, False), repeat=2):
        asked = TokenizeRequest(messages[1].content, special, parsed)
        found = loaded.run(loaded.worker.tokenize(asked))
        assert found == reference.run(reference.worker.tokenize(asked))
        back = DetokenizeRequest(found)
        assert loaded.run(loaded.worker.detokenize(back)) == reference.run(reference.worker.detokenize(back))


def test_a_stream_begins_goes_on_and_ends(loaded: Loaded) -> None:
    events = loaded.events(ask(QUESTIONS[0]))
    kinds = [type(event) for event in events]
    assert kinds[0] is Started
    assert set(kinds[1:-1]) == {Piece}
    finished = end(events)
    assert finished.usage.completion_tokens in (len(tokens(events)), len(tokens(events)) + 1)
    assert finished.timings.decode_tokens_per_s > 0
    assert finished.seed == 1


def test_text_is_what_its_tokens_stand_for(loaded: Loaded) -> None:
    """Forced to say bytes that are no characters, and characters of several tokens."""
    parts = loaded.run(loaded.worker.tokenize(TokenizeRequest("é€🙂", False)))
    events = loaded.events(go_on("x", logit_bias=dict.fromkeys(parts, 60.0), max_tokens=24, temperature=1.0))
    spelled = loaded.run(loaded.worker.detokenize(DetokenizeRequest(tokens(events))))
    assert text(events) == spelled
    assert len(tokens(events)) == 24


def pieces(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Piece)]


@pytest.mark.parametrize("place", [0, 7, 30])
def test_no_part_of_a_stop_string_is_seen(loaded: Loaded, place: int) -> None:
    whole = text(loaded.events(ask(QUESTIONS[0])))
    stop = whole[place : place + 11]
    events = loaded.events(ask(QUESTIONS[0], stop=[stop, "never said"]))
    assert text(events) == whole[: whole.index(stop)]
    assert end(events).reason == "stop"


def test_what_only_begins_like_a_stop_string_comes_through(loaded: Loaded) -> None:
    whole = text(loaded.events(ask(QUESTIONS[0])))
    events = loaded.events(ask(QUESTIONS[0], stop=[whole[-8:] + "!", whole[5:12] + "#"]))
    assert text(events) == whole


def test_the_most_tokens(loaded: Loaded) -> None:
    for count in (1, 5):
        events = loaded.events(ask(QUESTIONS[0], max_tokens=count))
        assert len(tokens(events)) == count
        assert end(events).reason == "length"


def test_beyond_the_end(loaded: Loaded) -> None:
    whole = loaded.events(ask("Hello"))
    assert end(whole).reason == "stop"
    events = loaded.events(ask("Hello", ignore_eos=True, max_tokens=60))
    assert len(tokens(events)) == 60
    assert text(events).startswith(text(whole))
