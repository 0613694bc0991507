"""Both kinds of cache give each sequence the logits that it gets alone, whoever it is computed with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from native_host.workers.backends.batching import Forward, Span
from native_host.workers.backends.onnx.copied_cache import CopiedCacheForward
from native_host.workers.backends.onnx.files import find_graph
from native_host.workers.backends.onnx.providers import place
from native_host.workers.backends.onnx.session import open_session
from native_host.workers.backends.onnx.shared_cache import SharedCacheForward
from native_host.workers.backends.onnx.signature import read_signature
from native_host.workers.messages import LoadOptions

PROMPTS = [[5, 6, 7], [900, 30, 2, 77, 1000, 41, 8], [11], [300, 301]]
Logits = npt.NDArray[np.float32]


class Steps:
    """A forward and the rows of its answers."""

    def __init__(self, forward: Forward, vocabulary: int) -> None:
        self.forward = forward
        self._vocabulary = vocabulary

    def decode(self, *spans: Span) -> Logits:
        return np.frombuffer(self.forward.decode(list(spans)), np.float32).reshape(-1, self._vocabulary)


def opened(folder: Path, parallel: int) -> Steps:
    graph = find_graph(folder)
    session = open_session(graph, place("cpu"), LoadOptions(threads=1))
    signature = read_signature(session, graph.settings)
    if "GroupQueryAttention" in graph.operators:
        return Steps(SharedCacheForward(session, signature, parallel, 64), signature.vocabulary)
    return Steps(CopiedCacheForward(session, signature, "cpu"), signature.vocabulary)


@pytest.fixture(params=["shared", "copied"])
def steps(request: pytest.FixtureRequest, derived: Path) -> Steps:
    if request.param == "shared":
        return opened(derived, parallel=4)
    exported: Path = request.getfixturevalue("exported")
    return opened(exported, parallel=4)


def alone(steps: Steps, tokens: list[int]) -> Logits:
    """The logits after each token, computed in a fresh sequence, one token at a time."""
    steps.forward.cut(0, 0)
    return np.concatenate([steps.decode((0, at, [token], 1)) for at, token in enumerate(tokens)])


def test_a_prompt_in_one_piece_in_two_and_token_by_token(steps: Steps) -> None:
    tokens = PROMPTS[1]
    expected = alone(steps, tokens)
    whole = steps.decode((1, 0, tokens, 1))
    assert np.allclose(whole[0], expected[-1], atol=1e-3)
    assert steps.decode((2, 0, tokens[:3], 0)).size == 0
    assert np.allclose(steps.decode((2, 3, tokens[3:], 1)), expected[-1:], atol=1e-3)
    assert np.allclose(steps.decode((3, 0, tokens, 3)), expected[-3:], atol=1e-3)


def test_sequences_join_and_leave(steps: Steps) -> None:
    following = [20, 21, 22, 23, 24]
    expected = [alone(steps, [*prompt, *following]) for prompt in PROMPTS]
    steps.forward.cut(0, 0)
    at = [len(prompt) for prompt in PROMPTS]
    for sequence in (0, 1, 2):
        steps.decode((sequence, 0, PROMPTS[sequence], 1))

    def step(*company: int, prompt: int | None = None) -> None:
        spans = [
            (sequence, at[sequence], [following[at[sequence] - len(PROMPTS[sequence])]], 1)
            for sequence in company
        ]
        spans += [(prompt, 0, PROMPTS[prompt], 1)] if prompt is not None else []
        found = steps.decode(*spans)
        for row, sequence in enumerate(company):
            assert np.allclose(found[row], expected[sequence][at[sequence]], atol=1e-3), (company, sequence)
            at[sequence] += 1
        if prompt is not None:
            assert np.allclose(found[-1], expected[prompt][len(PROMPTS[prompt]) - 1], atol=1e-3)

    step(0, 1, 2)
    step(0, 2)
    step(2, 0, prompt=3)
    step(1, 3)
    step(3, 1, 0)
    step(3)


def test_what_is_cut_is_forgotten(steps: Steps) -> None:
    expected = alone(steps, [5, 6, 70, 80])
    steps.forward.cut(0, 0)
    steps.decode((0, 0, [5, 6, 7, 8, 9], 1), (1, 0, [4], 1))
    steps.decode((0, 5, [10], 1), (1, 1, [4], 1))
    steps.forward.cut(0, 2)
    found = steps.decode((0, 2, [70, 80], 1))
    assert np.allclose(found[0], expected[-1], atol=1e-3)
