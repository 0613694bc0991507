"""The built-in model's tokenizer: byte-level BPE trained on the corpus, with the pre-tokenizer of GPT-2.

llama.cpp knows that pre-tokenizer as "gpt-2", so both sides cut every text alike.
"""

from __future__ import annotations

import itertools
import json

from tokenizers import (  # type: ignore[import-not-found, unused-ignore]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

from demo_model.chat_template import MESSAGE_END, MESSAGE_START, SPECIAL_TOKENS
from demo_model.conversations import Conversations, Message
from demo_model.llama_gguf import Vocabulary

SAMPLED_CONVERSATIONS = 20_000


def train_tokenizer(conversations: Conversations, vocabulary: int) -> Tokenizer:
    """Train a tokenizer of `vocabulary` tokens on a sample of the conversations."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sample = itertools.islice(conversations, SAMPLED_CONVERSATIONS)
    texts = ("\n".join(f"{message.role}\n{message.content}" for message in messages) for messages in sample)
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(f"the corpus yields only {tokenizer.get_vocab_size()} of {vocabulary} tokens")
    return tokenizer


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """Tokens by id and merges by rank, as GGUF stores them."""
    model = json.loads(tokenizer.to_str())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: int(item[1]))]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return Vocabulary(tokens, merges)


def encode_opening(tokenizer: Tokenizer, role: str) -> list[int]:
    """The tokens that open a message of `role` in ChatML."""
    return [control_token(tokenizer, MESSAGE_START), *_encode_text(tokenizer, f"{role}\n")]


def encode_message(tokenizer: Tokenizer, message: Message) -> tuple[list[int], list[int]]:
    """The message's tokens in ChatML: what opens it, and what it says, end token included."""
    said = _encode_text(tokenizer, message.content)
    return encode_opening(tokenizer, message.role), [*said, control_token(tokenizer, MESSAGE_END)]


def control_token(tokenizer: Tokenizer, text: str) -> int:
    """The id of a control token. Raises KeyError where the vocabulary lacks it."""
    token = tokenizer.token_to_id(text)
    if token is None:
        raise KeyError(text)
    return int(token)


def _encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """`text` as plain characters: answers that speak of <|im_end|> must not contain the end token."""
    tokenizer.encode_special_tokens = True
    tokens: list[int] = tokenizer.encode(text).ids
    return tokens
