"""Tokenizing: bytes come back exactly, and the ids are those of llama.cpp's own test vectors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tabagent_model import InvalidArgumentError, PyModel

ROOT = Path(__file__).parents[2]
SEPARATOR = "\n__ggml_vocab_test__\n"


@given(text=st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_bytes_come_back(model: PyModel, text: str) -> None:
    assert model.detokenize(model.tokenize(text, add_special=False)) == text.encode()


def test_control_tokens_are_text_unless_meant(model: PyModel) -> None:
    text = "<|im_end|>"
    plain = model.tokenize(text, add_special=False)
    assert len(plain) > 1
    assert model.detokenize(plain) == text.encode()
    meant = model.tokenize(text, add_special=False, parse_special=True)
    assert len(meant) == 1
    assert meant[0] in model.info()["tokens_eog"]


def test_tokens_that_there_are_not(model: PyModel) -> None:
    for token in (-1, 2048, 2**31 - 1):
        with pytest.raises(InvalidArgumentError, match="not in the vocabulary"):
            model.detokenize([token])


@pytest.fixture(scope="module")
def vocabularies() -> Path:
    """llama.cpp's vocabularies with their texts and tokens, from the runtime pack's sources."""
    script = [sys.executable, str(ROOT / "scripts" / "build_runtime.py"), "--source"]
    source = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return Path(source) / "models"


def test_ids_are_llama_cpps_own(library: str, vocabularies: Path) -> None:
    files = sorted(vocabularies.glob("ggml-vocab-*.gguf.inp"))
    assert len(files) >= 14
    for inputs in files:
        expected = inputs.with_suffix(".out").read_text(encoding="utf-8").splitlines()
        texts = inputs.read_bytes().decode().split(SEPARATOR)
        if texts[-1] == "":
            texts.pop()  # the file ends with a separator
        assert len(texts) == len(expected)
        with PyModel() as model:
            model.load(library, inputs.with_suffix(""), vocab_only=True)
            for text, line in zip(texts, expected, strict=True):
                tokens = [int(token) for token in line.split()]
                assert model.tokenize(text, add_special=False) == tokens, f"{inputs.name}: {text!r}"
