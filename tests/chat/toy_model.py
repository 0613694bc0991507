"""A model over bytes and control tokens that wants to say a given text, or whatever a die says."""

from __future__ import annotations

import random
import re
import select
import struct
from typing import Any

import tabagent_model
from tabagent_model.chat import ChatInputs, ChatStyle, Plan, Prompt, ToolChoice
from tabagent_model.chat.formats import CallFormat

from .writing import written

_MARK = re.compile(r"<\|[^<>|]+\|>|<｜[^<>｜]+｜>|</?[A-Za-z_:]+>|\[/?[A-Z_]+\]")


class ToyModel:
    """`control`: the marks that are single control tokens here."""

    def __init__(self, control: list[str]) -> None:
        self._control = {mark: 257 + index for index, mark in enumerate(control)}
        self.end = 256
        self._pieces = [bytes([byte]) for byte in range(256)] + [b"<end>"] + [m.encode() for m in control]
        self._wanted: list[int] = []
        self._dice: random.Random | None = None

    def control_token(self, mark: str) -> int | None:
        return self._control.get(mark)

    def tokens(self, text: str) -> list[int]:
        """Control tokens where the text names them, bytes else."""
        tokens: list[int] = []
        position = 0
        for found in _MARK.finditer(text):
            token = self._control.get(found[0])
            if token is not None:
                tokens += [*text[position : found.start()].encode(), token]
                position = found.end()
        return [*tokens, *text[position:].encode()]

    def says(self, plan: Plan, text: str) -> tuple[str, str]:
        """The answer that comes of wanting to say a text, and why it ended."""
        self._wanted, self._dice = self.tokens(text), None
        return self._answer(plan, 0.0, 4 * len(text) + 400)

    def babbles(self, plan: Plan, seed: int) -> tuple[str, str]:
        """The answer that comes of dice."""
        self._wanted, self._dice = [], random.Random(seed)
        return self._answer(plan, 1.0, 4000)

    def _answer(self, plan: Plan, temperature: float, most: int) -> tuple[str, str]:
        engine = tabagent_model.HostedEngine(
            self,
            vocabulary=self._pieces,
            control=[self.end, *self._control.values()],
            end=[self.end],
            context_length=8192,
            parallel=1,
        )
        options: dict[str, Any] = {"response_format": plan.response_format, "spelled": plan.spelled or None}
        text = ""
        try:
            engine.submit([32], max_tokens=most, temperature=temperature, seed=1, **options)
            while True:
                select.select([engine.fileno()], [], [], 30)
                for event in engine.drain():
                    if event["type"] == "piece":
                        text += event["text"]
                    elif event["type"] == "finished":
                        return text, event["reason"]
                    elif event["type"] == "failed":
                        raise AssertionError(event)
        finally:
            engine.close()

    def decode(self, spans: list[tuple[int, int, list[int], int]]) -> bytes:
        rows = b""
        for _, start, tokens, wanted in spans:
            for offset in range(len(tokens) - wanted, len(tokens)):
                rows += self._row(start + offset)
        return rows

    def cut(self, sequence: int, length: int) -> None:
        """Nothing is kept."""

    def _row(self, position: int) -> bytes:
        logits = [0.0] * len(self._pieces)
        if self._dice is not None:
            logits = [self._dice.gauss(0, 2) for _ in self._pieces]
            for mark in b'"}>]':  # so that strings and numbers come to an end
                logits[mark] += 4
            logits[self.end] += 6
        elif position < len(self._wanted):
            logits[self._wanted[position]] = 20.0
        else:
            logits[self.end] = 20.0
        return struct.pack(f"{len(logits)}f", *logits)


def plan_of(
    model: ToyModel,
    template: str,
    tools: list[dict[str, Any]],
    choice: ToolChoice = "auto",
    *,
    prompt: str = "",
    parallel: bool = True,
    response_format: Any = None,  # noqa: ANN401 - as the engine has it
    call_format: CallFormat | None = None,
) -> Plan:
    """The plan for a question; the "template" names the marks of a format, and writes tools; and calls of
    earlier turns in `call_format`."""

    def render(inputs: ChatInputs) -> Prompt:
        said = [message.get("content") for message in inputs.messages]
        earlier = "".join(
            written(call_format, [(call["function"]["name"], call["function"]["arguments"])])
            for message in inputs.messages
            for call in message.get("tool_calls", [])
            if call_format is not None
        )
        return [(f"{said}{inputs.tools}{earlier}{prompt}", True)]

    style = ChatStyle(template, render, model.control_token)
    inputs = ChatInputs([{"role": "user", "content": "?"}], tools)
    return style.plan(inputs, choice, parallel, response_format)
