"""What the loops' programs share: questions come in as lines of JSON, answers go out the same way."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

Decode = Callable[[list[int], int, Callable[[], None]], None]
"""(prompt, tokens to generate, to be called at each token) greedily, beyond the end of an answer."""


def serve(decode: Decode) -> None:
    """Answer questions of the form {"prompts": [[token]], "tokens": count}, one prompt after the other, by
    the seconds from the question to each token.
    """
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(_answered(decode, question["prompts"], question["tokens"])), flush=True)


def _answered(decode: Decode, prompts: list[list[int]], tokens: int) -> list[list[float]]:
    began = time.perf_counter()
    arrivals: list[list[float]] = []
    for prompt in prompts:
        arrivals.append([])
        decode(prompt, tokens, lambda: arrivals[-1].append(time.perf_counter() - began))
    return arrivals
