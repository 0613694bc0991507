"""How tokens are chosen."""

from __future__ import annotations

import math

from native_host.workers.messages import Piece, TokenInfo

from .asking import QUESTIONS, ask
from .loaded import Loaded, text, tokens


def test_a_seed_replays(loaded: Loaded) -> None:
    def drawn(seed: int) -> list[int]:
        return tokens(loaded.events(ask("Tell me something.", temperature=1.5, seed=seed)))

    first = drawn(7)
    assert drawn(7) == first
    assert any(drawn(seed) != first for seed in (8, 9, 10))


def test_draws_are_those_of_the_reference(loaded: Loaded, reference: Loaded) -> None:
    """Logits differ in their last digits, so a draw may fall on the other side of a border; not all do."""
    requests = [ask("Tell me something.", temperature=0.8, top_p=0.9, seed=seed) for seed in range(6)]
    ours, theirs = loaded.events_of_all(requests), reference.events_of_all(requests)
    equal = [tokens(one) == tokens(other) for one, other in zip(ours, theirs, strict=True)]
    assert sum(equal) >= 4


def test_a_bias_bans_and_forces(loaded: Loaded) -> None:
    first = tokens(loaded.events(ask(QUESTIONS[0], max_tokens=1)))[0]
    banned = tokens(loaded.events(ask(QUESTIONS[0], logit_bias={first: -100.0})))
    assert first not in banned
    forced = tokens(loaded.events(ask(QUESTIONS[0], logit_bias={77: 100.0}, max_tokens=6)))
    assert forced == [77] * 6


def test_penalties_break_repetitions(loaded: Loaded) -> None:
    def said(**options: float) -> list[int]:
        return tokens(loaded.events(ask("Hello", ignore_eos=True, max_tokens=120, **options)))

    plain = len(set(said()))
    assert len(set(said(frequency_penalty=2.0))) > plain
    assert len(set(said(presence_penalty=4.0))) > plain
    assert len(set(said(repeat_penalty=1.8))) > plain


def test_log_probabilities(loaded: Loaded, reference: Loaded) -> None:
    def told(worker: Loaded) -> list[TokenInfo]:
        events = worker.events(ask(QUESTIONS[0], logprobs=3, max_tokens=12))
        return [token for event in events if isinstance(event, Piece) for token in event.tokens]

    ours, theirs = told(loaded), told(reference)
    assert len(ours) == 12
    for token, expected in zip(ours, theirs, strict=True):
        assert token.top[0].token == token.token
        assert len(token.top) == 3
        assert token.logprob is not None
        assert expected.logprob is not None
        assert math.isclose(token.logprob, expected.logprob, abs_tol=0.02)
        assert token.text == expected.text
        assert sum(math.exp(each.logprob) for each in token.top) <= 1.001


def test_a_crowd_gets_what_each_would_get_alone(loaded: Loaded) -> None:
    requests = [
        ask(
            question,
            temperature=temperature,
            seed=seed,
            max_tokens=20 + seed,
            stop=["\n"] if seed % 2 else [],
        )
        for seed, question in enumerate(QUESTIONS * 2)
        for temperature in (0.0, 0.7)
    ]
    together = loaded.events_of_all(requests)
    alone = [loaded.events(request) for request in requests]
    equal = [text(one) == text(other) for one, other in zip(together, alone, strict=True)]
    # Sums depend on the shape of a batch in their last digits.
    assert sum(equal) >= len(requests) - 2
