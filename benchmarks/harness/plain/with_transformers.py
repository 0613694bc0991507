"""transformers' own `generate`, in float32.

python -m harness.plain.with_transformers FOLDER THREADS
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM

from harness.plain.serving import serve


class Arrivals:
    """What `generate` tells of its tokens; the first of all is the prompt."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._prompt_is_over = False

    def put(self, _: object) -> None:
        if self._prompt_is_over:
            self._tell()
        self._prompt_is_over = True

    def end(self) -> None:
        """Nothing is left to tell."""


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()

    def decode(prompt: list[int], count: int, tell: Callable[[], None]) -> None:
        given = torch.tensor([prompt])
        model.generate(
            given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            min_new_tokens=count,
            max_new_tokens=count,
            streamer=Arrivals(tell),
        )

    serve(decode)


if __name__ == "__main__":
    main()
