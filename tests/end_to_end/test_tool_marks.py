"""Calls between control tokens, in a GGUF model whose template is Mistral's shape."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest

from native_host.client import Host

TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% for message in messages %}[INST]{{ message.content }}[/INST]"
    "{% for call in message.tool_calls %}[TOOL_CALLS]{{ call.function.name }}[ARGS]"
    "{{ call.function.arguments | tojson }}{% endfor %}{% endfor %}"
)
PARAMETERS = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["n"],
}
TOOLS = [{"type": "function", "function": {"name": "count", "parameters": PARAMETERS}}]
MARKS = ("[TOOL_CALLS]", "[ARGS]", "[INST]", "[/INST]")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """Random weights; the marks are control tokens."""
    import make_random_model
    from demo_model import llama_gguf
    from demo_model.chat_template import SPECIAL_TOKENS

    patch = pytest.MonkeyPatch()
    special = (*SPECIAL_TOKENS, *MARKS)
    for module in (make_random_model, llama_gguf):
        patch.setattr(module, "SPECIAL_TOKENS", special)
    patch.setattr(llama_gguf, "CHAT_TEMPLATE", TEMPLATE)
    patch.setattr(sys, "argv", ["make_random_model", str(folder / "marks.gguf"), "--preset", "tiny"])
    make_random_model.main()
    patch.undo()
    return folder / "marks.gguf"


def test_calls_between_control_tokens(model: Path, tmp_path: Path) -> None:
    registry = tmp_path / "models.json"
    entry = {"type": "text", "format": "gguf", "path": str(model), "threads": 1}
    registry.write_text(json.dumps({"models": {"marks": entry}, "default": "marks"}))
    with Host.spawn(models=registry) as host:
        for seed in range(5):
            answer = host.chat(
                "Count.",
                tools=TOOLS,
                tool_choice="required",
                parallel_tool_calls=False,
                temperature=1.0,
                seed=seed,
                max_tokens=200,
            ).result
            (call,) = answer.message.tool_calls or []
            assert answer.finish_reason == "tool_calls"
            assert call.id is not None
            assert len(call.id) == 9  # what Mistral's templates take
            assert isinstance(call.function.arguments, str)
            jsonschema.validate(json.loads(call.function.arguments), PARAMETERS)
            # The marks were taken as the tokens that they are.
            assert answer.usage.completion_tokens < 60
            assert answer.message.content == ""
        plain = host.tokenize("[TOOL_CALLS]count[ARGS]", parse_special=True)
        assert len(plain) < len(host.tokenize("[TOOL_CALLS]count[ARGS]"))
