"""Load a model, continue a prompt, answer a chat.

Run: python examples/generate.py [MODEL.gguf]
"""

import sys
from pathlib import Path

import tabagent_model

BUILT_IN = Path(__file__).parents[1] / "native_host/models/builtin/tabagent-demo.gguf"
path = sys.argv[1] if len(sys.argv) > 1 else BUILT_IN

with tabagent_model.PyModel() as model:
    model.load(tabagent_model.get_optimal_binary("libllama.so"), path)
    facts = model.info()
    print(f"{facts['name']}: {facts['parameters'] / 1e6:.1f} million parameters, {facts['file_type']}")

    text = model.generate("A worker is", max_tokens=24, temperature=0)
    print("A worker is" + text)

    question = "Which formats can it run?"
    print(question)
    print(model.chat([{"role": "user", "content": question}], max_tokens=64, temperature=0))
