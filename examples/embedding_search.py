"""Search by meaning over a folder of text files.

Run: python examples/embedding_search.py EMBEDDER.gguf FOLDER QUERY
"""

import sys
from pathlib import Path

import tabagent_model

if len(sys.argv) != 4:
    raise SystemExit("usage: embedding_search.py EMBEDDER.gguf FOLDER QUERY")
embedder, folder, query = sys.argv[1:]

paragraphs = [
    (file.name, paragraph.strip())
    for file in sorted(Path(folder).iterdir())
    if file.suffix in (".txt", ".md")
    for paragraph in file.read_text(encoding="utf-8").split("\n\n")
    if paragraph.strip()
]
if not paragraphs:
    raise SystemExit(f"there is no text in {folder}")

with tabagent_model.PyModel() as model:
    model.load(tabagent_model.get_optimal_binary("libllama.so"), embedder)
    # Embedding models read a few hundred tokens at once; a paragraph's beginning tells what it is about.
    vectors = model.embed([paragraph[:1000] for _, paragraph in paragraphs])
    (wanted,) = model.embed([query])

# Vectors have length 1, so that their product is the cosine of the angle between them.
scores = [sum(a * b for a, b in zip(wanted, vector, strict=True)) for vector in vectors]
best = sorted(zip(scores, paragraphs, strict=True), reverse=True)[:3]
for score, (name, paragraph) in best:
    print(f"{score:.3f}  {name}: {' '.join(paragraph.split())[:100]}")
