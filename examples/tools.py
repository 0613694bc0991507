"""A model that calls Python functions: it writes a call that fits one of their schemas, the script runs it
and tells the model what came of it.

Run: python examples/tools.py [MODEL.gguf]
"""

import json
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import tabagent_model
from tabagent_model.types import Message

BUILT_IN = Path(__file__).parents[1] / "native_host/models/builtin/tabagent-demo.gguf"
path = sys.argv[1] if len(sys.argv) > 1 else BUILT_IN


def add(a: int, b: int) -> str:
    """The sum of two numbers."""
    return str(a + b)


def today() -> str:
    """The date."""
    return datetime.now(timezone.utc).date().isoformat()


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The schema of a call of this function."""
    properties = {"name": {"const": name}, "arguments": arguments}
    return {
        "type": "object",
        "properties": properties,
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


NUMBER = {"type": "integer", "minimum": 0, "maximum": 999}
TWO_NUMBERS = {
    "type": "object",
    "properties": {"a": NUMBER, "b": NUMBER},
    "required": ["a", "b"],
    "additionalProperties": False,
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
CALLS = {"anyOf": [call("add", TWO_NUMBERS), call("today", NOTHING)]}
FUNCTIONS: dict[str, Callable[..., str]] = {"add": add, "today": today}

with tabagent_model.PyModel() as model:
    model.load(tabagent_model.get_optimal_binary("libllama.so"), path)
    system = 'Call add (arguments "a", "b") or today (no arguments) by {"name": …, "arguments": …}.'
    messages: list[Message] = [
        {"role": "system", "content": system},
        {"role": "user", "content": "What is 2 and 3 together?"},
    ]
    asked = model.chat(
        messages, max_tokens=100, seed=1, response_format={"type": "json_schema", "json_schema": CALLS}
    )
    wanted = json.loads(asked)
    result = FUNCTIONS[wanted["name"]](**wanted["arguments"])
    print(f"called {wanted['name']}({wanted['arguments']}) = {result}")

    messages.append({"role": "assistant", "content": asked})
    messages.append({"role": "user", "content": f"The result is {result}. Say it in a sentence."})
    print(model.chat(messages, max_tokens=32, temperature=0))
