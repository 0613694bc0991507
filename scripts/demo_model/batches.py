"""Packs conversations into rows of equal length, with a mask of what the model shall learn to say."""

from __future__ import annotations

from collections.abc import Iterator

import torch  # type: ignore[import-not-found, unused-ignore]
from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

from demo_model.chat_template import END_OF_TEXT
from demo_model.conversations import Conversations
from demo_model.tokenizer import encode_message


def _stream(tokenizer: Tokenizer, conversations: Conversations) -> Iterator[list[tuple[int, bool]]]:
    """Conversations as (token, learn it): what assistants say, end token included, is learned."""
    newline = tokenizer.encode("\n").ids
    end = tokenizer.token_to_id(END_OF_TEXT)
    for messages in conversations:
        tokens: list[tuple[int, bool]] = []
        for message in messages:
            opening, content = encode_message(tokenizer, message)
            tokens += [(token, False) for token in opening]
            tokens += [(token, message.role == "assistant") for token in content]
            tokens += [(token, False) for token in newline]
        yield [*tokens, (end, False)]


class Batches:
    """Rows of conversations; each row begins with a new conversation and cuts its last one short."""

    def __init__(self, tokenizer: Tokenizer, conversations: Conversations) -> None:
        """`conversations` is drawn from without end."""
        self._stream = _stream(tokenizer, conversations)

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
