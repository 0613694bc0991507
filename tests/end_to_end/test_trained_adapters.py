"""Adapters that were trained on the built-in model: two styles of answering, in GGUF and SafeTensors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from native_host.client import Adapter, Host

from .f32_model import widened

pytestmark = pytest.mark.timeout(600)
"""Two trainings come first."""
SCRIPTS = Path(__file__).parents[2] / "scripts"
FORMATS = ("gguf", "safetensors")
QUESTIONS = ("What is the KV cache?", "How do I run the tests?", "Which formats can it run?")
STYLES = {"sailor": ("Ahoy! ", "Fair winds."), "butler": ("Certainly, madam. ", "At your service.")}
"""What the answers begin or end with."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("styles")
    widened(folder / "model.gguf")
    derive = [SCRIPTS / "derive_demo_model.py", "--to", "safetensors", "--type", "f32", folder / "model"]
    for command in (derive, [SCRIPTS / "train_adapter.py", folder]):
        subprocess.run([sys.executable, *command], check=True)
    models: dict[str, dict[str, object]] = {
        "gguf": {
            "path": "model.gguf",
            "kv_type": "f32",
            "flash_attention": False,
            "adapters": {style: f"{style}/adapter.gguf" for style in STYLES},
        },
        "safetensors": {
            "path": "model",
            "format": "safetensors",
            "adapters": {style: f"{style}/peft" for style in STYLES},
        },
    }
    file = folder / "models.json"
    file.write_text(json.dumps({"models": {name: {"threads": 1, **each} for name, each in models.items()}}))
    with Host.spawn(models=file) as host:
        yield host


def answer(host: Host, model: str, question: str, style: str | None) -> str:
    adapters: list[Adapter] = [] if style is None else [{"name": style}]
    return "".join(host.chat(question, model=model, max_tokens=64, temperature=0.0, adapters=adapters))


def answers(host: Host, model: str, style: str | None) -> list[str]:
    return [answer(host, model, question, style) for question in QUESTIONS]


def test_they_change_answers_in_the_same_way_in_both_formats(host: Host) -> None:
    styles = (None, *STYLES)
    gguf, safetensors = ([answers(host, format, style) for style in styles] for format in FORMATS)
    assert gguf == safetensors
    plain, *styled = gguf
    for said, marks in zip(styled, STYLES.values(), strict=True):
        assert all(one != other for one, other in zip(said, plain, strict=True))
        assert any(mark in text for text in said for mark in marks)
        assert not any(mark in text for text in plain for mark in marks)


@pytest.mark.parametrize("format", FORMATS)
def test_two_in_flight_do_not_mix(host: Host, format: str) -> None:
    asked = [(question, style) for question in QUESTIONS for style in (None, *STYLES)]
    lone = [answer(host, format, *each) for each in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(lambda each: answer(host, format, *each), asked)) == lone
