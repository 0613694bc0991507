"""What a chat template reads beside messages, from the wire to the template."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from native_host.client import Host

TEMPLATE = (
    "{% if tools %}{{ tools[0].function.name }}{% endif %} "
    "{% if documents %}{{ documents[0].text }}{% endif %}"
    " {{ enable_thinking }} {{ add_generation_prompt }}"
    "{% for message in messages %} {{ message.role }}:"
    "{% for call in message.tool_calls %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}"
    "{{ message.tool_call_id }}{{ message.content }}{% endfor %}"
)
TOOLS = [{"type": "function", "function": {"name": "weather"}}]


@pytest.fixture
def models(tiny_model: Path, tmp_path: Path) -> Path:
    """A registry of one model, which has a template that reads everything."""
    maker = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--chat-template", TEMPLATE]
    subprocess.run([*maker, tiny_model, tmp_path / "reads.gguf"], check=True)
    file = tmp_path / "models.json"
    entry = {"type": "text", "format": "gguf", "path": "reads.gguf", "threads": 1}
    file.write_text(json.dumps({"models": {"reads": entry}, "default": "reads"}))
    return file


def test_tools_documents_and_switches_reach_the_template(models: Path) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"place": "Kraków"}'},
    }
    asked = {
        "messages": [
            {"role": "user", "content": "Rain?"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "content": "yes", "tool_call_id": "c1"},
        ],
        "tools": TOOLS,
        "documents": [{"text": "It rains."}],
        "chat_template_kwargs": {"enable_thinking": False},
        "add_generation_prompt": False,
    }
    with Host.spawn(models=models) as host:
        answer = msgspec.convert(host.call("models.apply_template", asked), dict[str, str])
    call_text = '<tool_call>\n{"name": "weather", "arguments": {"place": "Kraków"}}\n</tool_call>'
    assert answer["prompt"] == f"weather It rains. False False user:Rain? assistant:{call_text} tool:c1yes"
