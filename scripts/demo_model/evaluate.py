"""Asks the model questions that it was not trained on, and counts the right answers."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import torch  # type: ignore[import-not-found, unused-ignore]
from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

from demo_model.chat_template import MESSAGE_END
from demo_model.conversations import Message
from demo_model.llama_gguf import LlamaShape
from demo_model.network import Parameters, hidden_states, rope_tables, scores
from demo_model.tokenizer import control_token, encode_message, encode_opening

NEAR = 0.8
LONGEST_ANSWER = 128


@dataclass(frozen=True)
class Exam:
    """A conversation that ends with a question, and the answer that is right."""

    messages: list[Message]
    answer: str


@dataclass(frozen=True)
class Report:
    """How many of the exams were answered exactly, and how many nearly (similarity of 0.8 and more)."""

    asked: int
    exact: int
    near: int
    wrong: list[tuple[str, str]]

    def line(self) -> str:
        """The figures in one line."""
        return f"{self.exact}/{self.asked} exact, {self.near}/{self.asked} near"


def prompt_tokens(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """The chat template's prompt for `messages`, opened for the assistant."""
    newline = tokenizer.encode("\n").ids
    tokens: list[int] = []
    for message in messages:
        opening, content = encode_message(tokenizer, message)
        tokens += [*opening, *content, *newline]
    return [*tokens, *encode_opening(tokenizer, "assistant")]


def greedy_answers(
    parameters: Parameters, shape: LlamaShape, tokenizer: Tokenizer, prompts: Sequence[list[int]]
) -> list[str]:
    """The likeliest continuation of each prompt up to its end token, all of them side by side."""
    end = control_token(tokenizer, MESSAGE_END)
    room = max(map(len, prompts)) + LONGEST_ANSWER
    rope = rope_tables(shape, room)
    tokens = torch.full((len(prompts), room), end)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    open_rows = torch.arange(len(prompts))
    with torch.no_grad():
        for _ in range(LONGEST_ANSWER):
            lengths_now = lengths[open_rows]
            # Causal attention never sees what lies behind a row's last token: no padding mask is needed.
            states = hidden_states(parameters, shape, tokens[open_rows, : int(lengths_now.max())], rope)
            last = states[torch.arange(len(open_rows)), lengths_now - 1]
            chosen = scores(parameters, last).argmax(dim=-1)
            tokens[open_rows, lengths_now] = chosen
            lengths[open_rows] += 1
            open_rows = open_rows[chosen != end]
            if not len(open_rows):
                break
    return [
        tokenizer.decode(tokens[row, len(prompt) : int(lengths[row])].tolist(), skip_special_tokens=True)
        for row, prompt in enumerate(prompts)
    ]


def examine(
    parameters: Parameters, shape: LlamaShape, tokenizer: Tokenizer, exams: Sequence[Exam], batch: int = 64
) -> Report:
    """Ask every exam greedily."""
    answers: list[str] = []
    for start in range(0, len(exams), batch):
        prompts = [prompt_tokens(tokenizer, exam.messages) for exam in exams[start : start + batch]]
        answers += greedy_answers(parameters, shape, tokenizer, prompts)
    exact = [answer == exam.answer for exam, answer in zip(exams, answers, strict=True)]
    near = [
        difflib.SequenceMatcher(None, answer, exam.answer, autojunk=False).ratio() >= NEAR
        for exam, answer in zip(exams, answers, strict=True)
    ]
    wrong = [
        (exam.messages[-1].content, answer)
        for exam, answer, right in zip(exams, answers, near, strict=True)
        if not right
    ]
    return Report(len(exams), sum(exact), sum(near), wrong)
