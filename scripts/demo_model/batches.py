"""Packs conversations into rows of equal length, with a mask of what the model shall learn to say."""

from __future__ import annotations

import random

import torch  # type: ignore[import-not-found, unused-ignore]
from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

from demo_model.chat_template import END_OF_TEXT
from demo_model.conversations import Conversations, Message
from demo_model.tokenizer import encode_message

# What a question asks for is decided in the first words of its answer. Most conversations end after those, which
# shows the model more questions in the same time; whole answers are known by heart soon enough.
WHOLE_SHARE = 0.35
CUT_AFTER = (6, 14)


class Batches:
    """Rows of conversations; each row begins with a new conversation and cuts its last one short."""

    def __init__(self, tokenizer: Tokenizer, conversations: Conversations, seed: int) -> None:
        """`conversations` is drawn from without end; `seed` decides where answers are cut."""
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        self._newline = tokenizer.encode("\n").ids
        self._end = tokenizer.token_to_id(END_OF_TEXT)
        self._stream = map(self._learnable, conversations)

    def _learnable(self, messages: list[Message]) -> list[tuple[int, bool]]:
        """(token, learn it) of a conversation: what assistants say, end token included, is learned."""
        tokens: list[tuple[int, bool]] = []
        for message in messages:
            opening, content = encode_message(self._tokenizer, message)
            if message is messages[-1] and self._rng.random() > WHOLE_SHARE:
                content = content[: self._rng.randint(*CUT_AFTER)]
            tokens += [(token, False) for token in opening]
            tokens += [(token, message.role == "assistant") for token in content]
            tokens += [(token, False) for token in self._newline]
        return [*tokens, (self._end, False)]

    def draw(self, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [rows, length + 1] and, for the last `length` of them, whether they are learned."""
        drawn = [self._row(length + 1) for _ in range(rows)]
        tokens = torch.tensor([[token for token, _ in row] for row in drawn])
        learned = torch.tensor([[learn for _, learn in row[1:]] for row in drawn])
        return tokens, learned

    def _row(self, length: int) -> list[tuple[int, bool]]:
        row: list[tuple[int, bool]] = []
        while len(row) < length:
            row += next(self._stream)
        return row[:length]
