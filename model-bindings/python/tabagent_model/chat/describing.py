"""Tools for models whose templates know none: told in the system prompt, as Hermes models are told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tabagent_model.types import Message

_INSTRUCTIONS = """\
You can call functions. Their signatures stand between <tools></tools>:
<tools>
{tools}
</tools>
To call one, write a JSON object with its name and arguments between <tool_call></tool_call>:
<tool_call>
{{"name": "the function's name", "arguments": {{"its": "arguments"}}}}
</tool_call>
The results follow between <tool_response></tool_response>."""


def with_tools_told(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[Message]:
    """The conversation with the tools in its system message."""
    told = _INSTRUCTIONS.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))
    first, *rest = messages
    if first["role"] != "system":
        return [{"role": "system", "content": told}, first, *rest]
    said = first.get("content") or ""
    return [cast("Message", {**first, "content": f"{said}\n\n{told}" if said else told}), *rest]


def without_calls(messages: Sequence[Message]) -> list[Message]:
    """The conversation with calls and their results as plain text, results as words of the user."""
    plain: list[Message] = []
    for message in messages:
        if message["role"] == "tool":
            result = f"<tool_response>\n{message.get('content') or ''}\n</tool_response>"
            if plain and plain[-1].get("name") == _RESULTS:
                plain[-1]["content"] = f"{plain[-1].get('content')}\n{result}"
            else:
                plain.append({"role": "user", "content": result, "name": _RESULTS})
        elif message.get("tool_calls"):
            said = message.get("content") or ""
            calls = [_call(call) for call in message.get("tool_calls", [])]
            rest = {name: value for name, value in message.items() if name != "tool_calls"}
            content = "\n".join([str(said), *calls] if said else calls)
            plain.append(cast("Message", {**rest, "content": content}))
        else:
            plain.append(message)
    return [
        cast("Message", {name: value for name, value in each.items() if value != _RESULTS}) for each in plain
    ]


_RESULTS = "\0results"
"""Marks, while it is made, a message of results that more results can join."""


def _call(call: Mapping[str, Any]) -> str:
    function = call["function"]
    told = {"name": function["name"], "arguments": function["arguments"]}
    return f"<tool_call>\n{json.dumps(told, ensure_ascii=False)}\n</tool_call>"
