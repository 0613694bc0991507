"""Conversations with one model: what its template makes of them, and what an answer's parts are."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from tabagent_model.chat import ChatInputs, ChatStyle, News, Plan, Prompt, Reader, written

from native_host.protocol import errors
from native_host.workers.backends.engine_requests import response_format_of
from native_host.workers.messages import (
    CallDelta,
    ChatMessage,
    Event,
    Finished,
    GenerateRequest,
    Piece,
    TemplateRequest,
    TokenInfo,
)

if TYPE_CHECKING:
    from tabagent_model import types as native

_ID_CHARACTERS = string.ascii_letters + string.digits
_SHORT_ID = 9
_LONG_ID = 24


class Chats:
    """Plans the answers to conversations."""

    def __init__(
        self,
        template: str | None,
        render: Callable[[TemplateRequest], Prompt],
        control_token: Callable[[str], int | None],
    ) -> None:
        """`template` is the model's own, `render` writes a conversation with it."""

        def rendered(inputs: ChatInputs) -> Prompt:
            messages = cast("list[dict[str, Any]]", inputs.messages)
            return render(
                TemplateRequest(
                    [ChatMessage(**each) for each in messages],
                    add_generation_prompt=inputs.add_generation_prompt,
                    tools=inputs.tools,
                    documents=inputs.documents,
                    options=dict(inputs.options),
                )
            )

        self._style = ChatStyle(template, rendered, control_token)

    def prompt(self, request: TemplateRequest) -> str:
        """What the model is given for a conversation."""
        inputs = ChatInputs(
            _plain(request.messages),
            request.tools,
            request.documents,
            request.options,
            request.add_generation_prompt,
        )
        return written(self._style.prompt(inputs))

    def plan(self, request: GenerateRequest) -> Plan:
        """How to have a request's conversation answered. Raises invalid_params."""
        inputs = ChatInputs(
            _plain(request.messages or []),
            request.tools,
            request.documents,
            request.template_options,
        )
        form = response_format_of(request.form)
        try:
            return self._style.plan(
                inputs, cast("Any", request.tool_choice), request.parallel_tool_calls, form
            )
        except ValueError as error:
            raise errors.invalid_params("tools", str(error)) from None


def _plain(messages: list[ChatMessage]) -> list[native.Message]:
    return cast("list[native.Message]", [message.fields() for message in messages])


class AnswerParts:
    """Turns an answer's events, whose text is all that the model writes, into events with its parts."""

    def __init__(self, reader: Reader, short_ids: bool) -> None:
        self._reader = reader
        self._short_ids = short_ids

    def events(self, event: Event) -> list[Event]:
        """What is told instead of an event."""
        if isinstance(event, Piece):
            return [self._piece(event.id, self._reader.push(event.text), event.tokens)]
        if not isinstance(event, Finished) or event.reason in ("cancelled", "timeout"):
            return [event]
        rest = self._reader.finish()
        told: list[Event] = []
        if rest.text or rest.reasoning or rest.calls:
            told.append(self._piece(event.id, rest, []))
        reason = "tool_calls" if event.reason == "stop" and self._reader.called else event.reason
        told.append(Finished(event.id, reason, event.usage, event.timings, event.seed))
        return told

    def _piece(self, request_id: int, news: News, tokens: list[TokenInfo]) -> Piece:
        calls = [
            CallDelta(call.index, call.arguments, self._new_id() if call.name else None, call.name)
            for call in news.calls
        ]
        return Piece(request_id, news.text, tokens, news.reasoning, calls)

    def _new_id(self) -> str:
        length = _SHORT_ID if self._short_ids else _LONG_ID
        drawn = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(length))
        return drawn if self._short_ids else f"call_{drawn}"


def parts_of(plan: Plan | None) -> AnswerParts | None:
    """What tells the parts of an answer apart, where it is one to a conversation."""
    return None if plan is None else AnswerParts(plan.reader, plan.short_ids)
