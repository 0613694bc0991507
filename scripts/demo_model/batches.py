"""Turns conversations into batches of tokens, with a mask of what the model shall learn to say."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import torch  # type: ignore[import-not-found, unused-ignore]
from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

from demo_model.chat_template import END_OF_TEXT
from demo_model.conversations import Conversations, Message
from demo_model.tokenizer import control_token, encode_message

# (token, whether it is learned) one after the other.
Row = list[tuple[int, bool]]

# What a question asks for is decided in the first words of its answer. Most conversations end after those,
# which shows the model more questions in the same time; whole answers are known by heart soon enough.
WHOLE_SHARE = 0.35
CUT_AFTER = (6, 14)
# Conversations drawn at a time, to batch those of like length; lengths are padded to a multiple.
POOL = 1024
LENGTH_MULTIPLE = 16


class Batches:
    """Draws batches: of single conversations, as the model will meet them, and of long rows full of them."""

    def __init__(self, tokenizer: Tokenizer, conversations: Conversations, seed: int) -> None:
        """`conversations` is drawn from without end; `seed` decides where answers are cut."""
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        self._newline = tokenizer.encode("\n").ids
        self._end = control_token(tokenizer, END_OF_TEXT)
        self._rows = map(self._row, conversations)

    def single(self, tokens: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of up to `tokens` tokens, one conversation a row: see `_tensors`."""
        while True:
            pool = sorted(itertools.islice(self._rows, POOL), key=len)
            batches: list[list[Row]] = [[]]
            for row in pool:
                if (len(batches[-1]) + 1) * len(row) > tokens:
                    batches.append([])
                batches[-1].append(row)
            self._rng.shuffle(batches)
            yield from map(self._tensors, batches)

    def packed(self, rows: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of `rows` rows, each filled with conversations to `length` + 1 tokens: `_tensors`."""
        while True:
            filled: list[Row] = []
            for _ in range(rows):
                row: Row = []
                while len(row) <= length:
                    row += next(self._rows)
                filled.append(row[: length + 1])
            yield self._tensors(filled)

    def _tensors(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [rows, length + 1] and, for the last `length` of them, whether they are learned."""
        longest = max(map(len, rows)) - 1
        length = -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        padded = [[*row, *((self._end, False) for _ in range(length + 1 - len(row)))] for row in rows]
        tokens = torch.tensor([[token for token, _ in row] for row in padded])
        learned = torch.tensor([[learn for _, learn in row[1:]] for row in padded])
        return tokens, learned

    def _row(self, messages: list[Message]) -> Row:
        """A conversation's tokens: what assistants say, end token included, is learned."""
        row: Row = []
        for message in messages:
            opening, content = encode_message(self._tokenizer, message)
            if message is messages[-1] and self._rng.random() > WHOLE_SHARE:
                content = content[: self._rng.randint(*CUT_AFTER)]
            row += [(token, False) for token in opening]
            row += [(token, message.role == "assistant") for token in content]
            row += [(token, False) for token in self._newline]
        return [*row, (self._end, False)]
