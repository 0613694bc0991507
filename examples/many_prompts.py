"""Many prompts, computed together: each step of the engine makes the next token of all that run.

Run: python examples/many_prompts.py [MODEL.gguf]
"""

import select
import sys
import time
from pathlib import Path

import tabagent_model

BUILT_IN = Path(__file__).parents[1] / "native_host/models/builtin/tabagent-demo.gguf"
path = sys.argv[1] if len(sys.argv) > 1 else BUILT_IN

things = ["worker", "frame", "model", "host", "session", "token", "prompt", "stream"]

with tabagent_model.Engine(path, parallel=len(things)) as engine:
    began = time.perf_counter()
    prompts = {}
    for thing in things:
        pieces = engine.prompt_pieces([{"role": "user", "content": f"What is a {thing}?"}])
        request = engine.submit(engine.tokenize_prompt(pieces), max_tokens=32, temperature=0)
        prompts[request] = thing

    texts = dict.fromkeys(prompts, "")
    running = set(prompts)
    tokens = 0
    while running:
        select.select([engine.fileno()], [], [])  # until there are events
        for event in engine.drain():
            if event["type"] == "piece":
                texts[event["request"]] += event["text"]
            elif event["type"] == "finished":
                tokens += event["usage"]["completion_tokens"]
                running.discard(event["request"])
            elif event["type"] == "failed":
                raise SystemExit(f"{prompts[event['request']]}: {event['error']}")
    seconds = time.perf_counter() - began

for request, thing in prompts.items():
    print(f"{thing}: {' '.join(texts[request].split())}")
print(f"{len(things)} answers, {tokens} tokens in {seconds:.2f} s: {tokens / seconds:.0f} tokens/s together")
