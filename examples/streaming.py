"""Text as it comes: by iterator, with the figures at the end, and by callback.

Run: python examples/streaming.py [MODEL.gguf]
"""

import sys
from pathlib import Path

import tabagent_model

BUILT_IN = Path(__file__).parents[1] / "native_host/models/builtin/tabagent-demo.gguf"
path = sys.argv[1] if len(sys.argv) > 1 else BUILT_IN


def show(piece: str) -> bool:
    """Answering False would end the generation."""
    print(piece, end="", flush=True)
    return True


with tabagent_model.PyModel() as model:
    model.load(tabagent_model.get_optimal_binary("libllama.so"), path)

    stream = model.stream_chat([{"role": "user", "content": "What is a frame?"}], max_tokens=64)
    for piece in stream:
        print(piece, end="", flush=True)
    usage, timings = stream.usage, stream.timings
    assert usage is not None
    assert timings is not None
    speed = timings["decode_tokens_per_s"]
    print(f"\n[{usage['completion_tokens']} tokens, {speed:.0f} a second, ended by {stream.finish_reason}]")

    model.stream("The host", max_tokens=16, callback=show)
    print()
