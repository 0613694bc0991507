"""TabAgent's documented interface, letter by letter."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import tabagent_model

ROOT = Path(__file__).parents[2]
BUILTIN = ROOT / "native_host" / "models" / "builtin" / "tabagent-demo.gguf"

QUICK_START = """
import tabagent_model

# 1. Detect hardware
cpu_variant = tabagent_model.get_cpu_variant()
print(f"CPU: {cpu_variant}")  # e.g., "bitnet-amd-zen2"

# 2. Get optimal binary path
binary_path = tabagent_model.get_optimal_binary("llama.dll")
print(f"Binary: {binary_path}")

# 3. Load model
model = tabagent_model.PyModel()
model.load(
    dll_path=binary_path,
    model_path="models/phi-3.5-q4.gguf",
    gpu_layers=32,
    mlock=True
)

# 4. Get model info
print(f"Vocab size: {model.vocab_size()}")
print(f"Context size: {model.context_train_size()}")
print(f"Embedding dim: {model.embedding_dim()}")
print(f"BOS token: {model.token_bos()}")
print(f"EOS token: {model.token_eos()}")
"""


def test_the_quick_start_runs_as_printed(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "phi-3.5-q4.gguf").write_bytes(tiny_model.read_bytes())
    run = subprocess.run(
        [sys.executable, "-c", QUICK_START], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    printed = dict(line.split(": ", 1) for line in run.stdout.splitlines())
    assert printed["CPU"].startswith("bitnet-")
    assert Path(printed["Binary"]).is_file()
    assert printed["Vocab size"] == "2048"
    assert printed["Context size"] == "2048"
    assert printed["Embedding dim"] == "64"
    assert int(printed["BOS token"]) >= 0
    assert int(printed["EOS token"]) >= 0
    assert ("RuntimeWarning: gpu_layers: " in run.stderr) != gpu_there(tiny_model)


def gpu_there(model: Path) -> bool:
    with tabagent_model.Engine(model, context_length=64) as engine:
        return engine.info()["gpu"]


def test_an_engine_without_a_gpu_refuses_layers_on_one(tiny_model: Path) -> None:
    if gpu_there(tiny_model):
        tabagent_model.Engine(tiny_model, gpu_layers=-1).close()
        return
    for ask in (tabagent_model.Engine, tabagent_model.estimate_memory):
        with pytest.raises(tabagent_model.UnsupportedError, match=r"gpu_layers: .*leave gpu_layers out"):
            ask(tiny_model, gpu_layers=1)


def test_the_test_script_passes() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "test_rust_bindings.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ALL TESTS PASSED" in run.stdout


def test_the_documented_signatures() -> None:
    assert str(inspect.signature(tabagent_model.get_cpu_variant)) == "()"
    assert str(inspect.signature(tabagent_model.get_optimal_binary)) == "(binary_name)"
    assert str(inspect.signature(tabagent_model.PyModel)) == "()"
    parameters = list(inspect.signature(tabagent_model.PyModel.load).parameters.values())[1:5]
    assert [(parameter.name, parameter.default) for parameter in parameters] == [
        ("dll_path", inspect.Parameter.empty),
        ("model_path", inspect.Parameter.empty),
        ("gpu_layers", 0),
        ("mlock", False),
    ]


def test_the_documented_error_handling(library: str) -> None:
    with pytest.raises(RuntimeError, match="no such file"):
        tabagent_model.PyModel().load(dll_path=library, model_path="missing.gguf", gpu_layers=32, mlock=True)


def test_documented_numbers(model: tabagent_model.PyModel) -> None:
    assert model.detokenize([model.token_nl()]) == b"\n"
    facts = model.info()
    assert facts["vocab_size"] == model.vocab_size()
    assert facts["context_length"] == 2048
    assert model.token_eos() in facts["tokens_eog"]
    assert isinstance(facts["path"], str)


def test_the_builtin_model_chats(library: str) -> None:
    with tabagent_model.PyModel() as model:
        model.load(library, BUILTIN, threads=1)
        answer = model.chat([{"role": "user", "content": "What is the native host?"}], 48, temperature=0)
        assert len(answer.split()) > 3


def test_a_vocabulary_alone_tokenizes_and_says_that_it_cannot_generate(
    library: str, tiny_model: Path
) -> None:
    with tabagent_model.PyModel() as model:
        model.load(library, tiny_model, vocab_only=True)
        assert model.detokenize(model.tokenize("hello", add_special=False)) == b"hello"
        assert (model.vocab_size(), model.context_train_size(), model.embedding_dim()) == (2048, 2048, 64)
        with pytest.raises(tabagent_model.NotLoadedError, match="vocab_only"):
            model.generate("hello")


def test_nothing_is_written_to_stdout(library: str, tiny_model: Path) -> None:
    code = "import sys, tabagent_model as t; m = t.PyModel(); m.load(*sys.argv[1:]); m.generate('a', 4)"
    run = subprocess.run(
        [sys.executable, "-c", code, library, str(tiny_model)], capture_output=True, text=True, check=True
    )
    assert run.stdout == ""
    assert run.stderr == ""
