"""Answers of a given form, whatever the model: here a dataclass is made of each.

Run: python examples/json_schema.py [MODEL.gguf]
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tabagent_model

BUILT_IN = Path(__file__).parents[1] / "native_host/models/builtin/tabagent-demo.gguf"
path = sys.argv[1] if len(sys.argv) > 1 else BUILT_IN


@dataclass
class Review:
    """What somebody thinks."""

    mood: str
    stars: int
    topics: list[str]


SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["glad", "angry", "neutral"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "topics": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 3},
    },
    "required": ["mood", "stars", "topics"],
    "additionalProperties": False,
}
texts = ["It starts at once and never crashed.", "The page is slow, and the manual is missing."]

with tabagent_model.PyModel() as model:
    model.load(tabagent_model.get_optimal_binary("libllama.so"), path)
    for text in texts:
        answer = model.chat(
            [{"role": "user", "content": f"Describe this review: {text}"}],
            max_tokens=400,
            seed=1,
            response_format={"type": "json_schema", "json_schema": SCHEMA},
        )
        print(Review(**json.loads(answer)))
