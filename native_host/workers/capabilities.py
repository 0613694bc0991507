"""Which methods a GGUF model can serve, from what its file says."""

from __future__ import annotations


def gguf_capabilities(kind: str, pooling: str | None, chat_template: bool) -> list[str]:
    """`kind` and `pooling` as `tabagent_model` tells them; the same whether the model is loaded or not."""
    if pooling == "rank":
        return ["rerank", "tokenize"]
    if kind == "encoder":
        return ["embed", "tokenize"]
    if kind == "generative":
        return ["generate", *(["chat"] if chat_template else []), "embed", "tokenize"]
    return []
