"""The built-in model says the same in every format, through the host."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from demo_model.questions import expand, read_corpus

from native_host.client import Host
from native_host.models.registry import BUILTIN_NAMES

from .f32_model import widened

DERIVE = Path(__file__).parents[2] / "scripts" / "derive_demo_model.py"
PROMPTS = 50
TOKENS = 128


def prompts() -> list[str]:
    """Questions of as many different entries of the corpus, in one of their wordings each."""
    corpus, rng = read_corpus(), random.Random(1)
    entries = rng.sample(sorted(corpus.entries.values(), key=lambda entry: entry.name), PROMPTS)
    return [expand((entry.held_out or entry.phrasings)[0], corpus.phrases, rng) for entry in entries]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("formats")
    widened(folder / "f32.gguf")
    for name in ("safetensors", "onnx"):
        subprocess.run([sys.executable, DERIVE, "--to", name, "--type", "f32", folder / name], check=True)
    models = {
        # llama.cpp's flash attention rounds more than F32 would: its logits are off by up to 0.03.
        "gguf-f32": {"path": "f32.gguf", "kv_type": "f32", "flash_attention": False, "threads": 1},
        **{f"{name}-f32": {"path": name, "format": name, "threads": 1} for name in ("safetensors", "onnx")},
    }
    file = folder / "models.json"
    file.write_text(json.dumps({"models": models}))
    with Host.spawn(models=file, env={"XDG_CACHE_HOME": str(folder / "cache")}) as host:
        yield host


def answers(host: Host, model: str, *, beyond_the_end: bool) -> list[list[int]]:
    """The tokens of all prompts' answers: up to 128, or 128 with whatever comes after an answer is over."""

    def answer(prompt: str) -> list[int]:
        stream = host.chat(
            prompt, model=model, max_tokens=TOKENS, temperature=0.0, ignore_eos=beyond_the_end, logprobs=0
        )
        return [token.token for piece in stream.pieces() for token in piece.logprobs or []]

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(answer, prompts()))


def equal(one: list[list[int]], other: list[list[int]]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


def test_in_f32_every_token_is_the_same(host: Host) -> None:
    expected = answers(host, "gguf-f32", beyond_the_end=True)
    assert [len(tokens) for tokens in expected] == [TOKENS] * PROMPTS
    for model in ("safetensors-f32", "onnx-f32"):
        assert equal(answers(host, model, beyond_the_end=True), expected) == PROMPTS


def test_in_f16_nearly_all_answers_are(host: Host) -> None:
    expected = answers(host, BUILTIN_NAMES[0], beyond_the_end=False)
    for model in BUILTIN_NAMES[1:]:
        assert equal(answers(host, model, beyond_the_end=False), expected) >= 0.95 * PROMPTS
