"""A model whose greedy answers are known beforehand, at a real model's cost.

The layers add nothing to the embedding that goes through them, and each row of the output matrix is the
embedding of the token that comes before: so each token is followed by one other, in cycles of CYCLE tokens.
An answer that begins in a cycle which the prompt has gone through is a text to copy; any other is not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Tensor = Callable[[str, tuple[int, ...]], Floats]

CYCLE = 256
STRIDE = 6151
"""A prime above a vocabulary's number of cycles: neighbours in a cycle are not neighbours by id."""


def recite(tensor: Tensor) -> Tensor:
    """The tensors of a model that recites, from those of a random one."""
    embeddings: list[Floats] = []

    def changed(name: str, shape: tuple[int, ...]) -> Floats:
        if name == "output.weight":
            return embeddings[0][preceding(shape[0])]
        made = tensor(name, shape)
        if name == "token_embd.weight":
            embeddings.append(made)
        adds = name.endswith(("attn_output.weight", "ffn_down.weight"))
        return np.zeros_like(made) if adds else made

    return changed


def recited(vocabulary: int, cycle: int) -> list[int]:
    """The tokens of a cycle in order; the answer to the last of them is the first."""
    return order(vocabulary)[cycle * CYCLE : (cycle + 1) * CYCLE]


def preceding(vocabulary: int) -> npt.NDArray[np.int64]:
    """By token, the one that comes before it."""
    before = np.arange(vocabulary)
    for cycle in range(vocabulary // CYCLE):
        tokens = recited(vocabulary, cycle)
        before[tokens] = [tokens[-1], *tokens[:-1]]
    return before


def order(vocabulary: int) -> list[int]:
    """All tokens, each once."""
    return [(place * STRIDE) % vocabulary for place in range(vocabulary)]
