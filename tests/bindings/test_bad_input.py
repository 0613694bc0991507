"""Whatever is wrong has its own exception, a RuntimeError, and a message that names it."""

from __future__ import annotations

import ctypes.util
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tabagent_model as t
from tabagent_model import PyModel


def test_every_error_is_a_runtime_error() -> None:
    errors = [value for name, value in vars(t).items() if name.endswith("Error")]
    assert len(errors) == 14
    assert all(issubclass(error, RuntimeError) and error.__doc__ for error in errors)
    assert issubclass(t.ModelFileNotFoundError, FileNotFoundError)
    assert issubclass(t.InvalidArgumentError, ValueError)
    assert t.LoadError.__module__ == "tabagent_model"


def load(library: object, model: object, **options: Any) -> None:  # noqa: ANN401 - whatever is wrong
    """Load and unload."""
    with PyModel() as loaded:
        loaded.load(library, model, **options)  # type: ignore[arg-type]


def test_model_files(library: str, tiny_model: Path, tmp_path: Path) -> None:
    sound = tiny_model.read_bytes()
    bad = tmp_path / "bad.gguf"
    cases: list[tuple[bytes, str]] = [
        (sound[:-1000], "truncated"),
        (sound[: len(sound) // 3], "truncated"),
        (sound[:30], "truncated"),
        (b"", "empty file"),
        (b"GGUF", "too small"),
        (b"This is a text that someone called .gguf\n" * 10, "looks like a text file"),
        (b"GGML" + sound[4:], "GGML"),
        (b"<!DOCTYPE html><html>" + b" " * 100, "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS"),
        (sound[:4] + struct.pack("<I", 1) + sound[8:], "version 1"),
        (sound[:4] + struct.pack(">I", 3) + sound[8:], "big-endian"),
        (sound[:8] + struct.pack("<QQ", 2**63, 2**63) + sound[24:], "number of tensors"),
        (sound[:16] + struct.pack("<Q", 2**40) + sound[24:], "number of metadata entries"),
    ]
    for content, problem in cases:
        bad.write_bytes(content)
        with pytest.raises(t.InvalidGgufError, match=problem) as raised:
            load(library, bad)
        assert "bad.gguf" in str(raised.value)
        with pytest.raises(t.InvalidGgufError, match=problem):
            t.inspect_gguf(bad)


def test_paths_that_lead_to_no_model(library: str, tmp_path: Path) -> None:
    with pytest.raises(t.ModelFileNotFoundError, match="no such file"):
        load(library, tmp_path / "missing.gguf")
    with pytest.raises(t.InvalidGgufError, match="directory"):
        load(library, tmp_path)
    with pytest.raises(t.InvalidArgumentError, match="model_path is empty"):
        load(library, "")
    with pytest.raises(TypeError):
        load(library, 5)


def test_libraries(library: str, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(t.LibraryNotFoundError):
        load(tmp_path / "missing.so", tiny_model)
    with pytest.raises(t.AbiMismatchError, match="not a file"):
        load(tmp_path, tiny_model)
    text = tmp_path / "llama.dll"
    text.write_text("not a library")
    with pytest.raises(t.AbiMismatchError, match="manifest"):
        load(text, tiny_model)
    libc = ctypes.util.find_library("c")
    assert libc is not None
    for folder in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/lib"):
        if (path := Path(folder) / libc).is_file():
            with pytest.raises(t.AbiMismatchError, match="manifest"):
                load(path, tiny_model)


@pytest.fixture
def pack(library: str, tmp_path: Path) -> Path:
    """A copy of the runtime pack to spoil."""
    return Path(shutil.copytree(Path(library).parent, tmp_path / "pack"))


def edit_manifest(pack: Path, **changes: object) -> None:
    """Change entries of the manifest."""
    path = pack / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"llama_version": "0.6.0"}, "llama_version"),
        ({"ggml_version": "0.26.0"}, "ggml_version"),
        ({"source": "llama-cpp-python 0.3.35"}, "source"),
        ({"format": 2}, "2"),
        ({"library": "../libllama.so"}, "libllama.so"),
        ({"files": {}}, "hash"),
        ({"cpu_modules": []}, "CPU module"),
    ],
)
def test_packs_of_another_kind(
    pack: Path, tiny_model: Path, changes: dict[str, object], problem: str
) -> None:
    edit_manifest(pack, **changes)
    with pytest.raises(t.AbiMismatchError, match=problem):
        load(pack / "libllama.so", tiny_model)


def test_a_changed_library_is_never_opened(pack: Path, tiny_model: Path) -> None:
    with (pack / "libllama.so").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    with pytest.raises(t.AbiMismatchError, match="was changed"):
        load(pack / "libllama.so", tiny_model)
    (pack / "manifest.json").write_text("{")
    with pytest.raises(t.AbiMismatchError, match="manifest"):
        load(pack / "libllama.so", tiny_model)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"context_length": 0}, "context_length is 0"),
        ({"context_length": -5}, "context_length is -5"),
        ({"threads": 0}, "threads is 0"),
        ({"kv_type": "q3"}, "kv_type"),
        ({"flash_attention": "maybe"}, "flash_attention"),
    ],
)
def test_options_of_loading(library: str, tiny_model: Path, options: dict[str, object], problem: str) -> None:
    with pytest.raises(t.InvalidArgumentError, match=problem):
        load(library, tiny_model, **options)


def test_a_context_that_no_machine_has_room_for(library: str, tiny_model: Path) -> None:
    with pytest.raises((t.InsufficientMemoryError, t.InvalidArgumentError)):
        load(library, tiny_model, context_length=2**31)


def test_unknown_arguments(library: str, tiny_model: Path, model: PyModel) -> None:
    with pytest.raises(TypeError, match="gpu_layer"):
        load(library, tiny_model, gpu_layer=1)
    with pytest.raises(TypeError, match=r"generate\(\) got an unexpected keyword argument 'temprature'"):
        model.generate("Hello", temprature=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        model.generate()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"max_tokens": 2**40}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"top_k": -1}, "top_k"),
        ({"repeat_penalty": 0}, "repeat_penalty"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"stop": ""}, "stop"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": -1}, "logprobs"),
        ({"priority": 11}, "priority"),
        ({"logit_bias": {2048: 1.0}}, "logit_bias"),
    ],
)
def test_values_out_of_range(model: PyModel, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(t.InvalidArgumentError, match=problem):
        model.generate("Hello", **options)


def test_prompts(model: PyModel) -> None:
    with pytest.raises(t.InvalidArgumentError, match="prompt is empty"):
        model.generate("")
    with pytest.raises(t.InvalidArgumentError, match="empty"):
        model.generate([])
    with pytest.raises(t.ContextOverflowError, match="3000"):
        model.generate([1] * 3000)
    with pytest.raises(t.ContextOverflowError):
        model.generate("word " * 10_000)
    with pytest.raises(t.InvalidArgumentError, match="Unicode"):
        model.generate("\ud800")
    with pytest.raises(TypeError, match="str or a list"):
        model.generate(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        model.generate("Hello", "many")  # type: ignore[arg-type]


def test_a_model_that_is_not_loaded() -> None:
    model = PyModel()
    for call in (model.vocab_size, model.token_bos, model.info, lambda: model.generate("Hello")):
        with pytest.raises(t.NotLoadedError, match="load"):
            call()


def test_binaries() -> None:
    with pytest.raises(FileNotFoundError, match="tried"):
        t.get_optimal_binary("no-such-binary.exe")
    for name in ("", "../llama.dll", "/etc/passwd"):
        with pytest.raises(t.InvalidArgumentError):
            t.get_optimal_binary(name)


INTERRUPTED = """
import os, signal, sys, tabagent_model
# What Ctrl-C does, by a timer that cannot go off before the generation is waited for.
signal.signal(signal.SIGALRM, signal.default_int_handler)
model = tabagent_model.PyModel()
model.load(sys.argv[1], sys.argv[2], context_length=32768, threads=1)
stream = model.stream("Hello", 30000, ignore_eos=True)
next(stream)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    "".join(stream)
except KeyboardInterrupt:
    print("interrupted", stream.finish_reason)
def interrupt(fraction):
    os.kill(os.getpid(), signal.SIGALRM)
try:
    model.load(sys.argv[1], sys.argv[2], progress=interrupt)
except KeyboardInterrupt:
    print("interrupted", model.loaded)
"""


def test_ctrl_c_interrupts_generating_and_loading(library: str, tiny_model: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, library, str(tiny_model)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.split("\n")[:2] == ["interrupted cancelled", "interrupted False"]


EXITING = """
import sys, tabagent_model
model = tabagent_model.PyModel()
model.load(sys.argv[1], sys.argv[2], context_length=32768, threads=1)
stream = model.stream("Hello", 30000, ignore_eos=True)
next(stream)
"""


def test_the_process_ends_cleanly_in_the_middle_of_a_generation(library: str, tiny_model: Path) -> None:
    command = [sys.executable, "-c", EXITING, library, str(tiny_model)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0
    assert "Traceback" not in run.stderr


FORKED = """
import os, sys, tabagent_model
model = tabagent_model.PyModel()
model.load(sys.argv[1], sys.argv[2], threads=1)
model.generate("Hello", 2)
child = os.fork()
if child == 0:
    try:
        model.generate("Hello", 2)
    except tabagent_model.NotLoadedError as error:
        os._exit(0 if "fork" in str(error) else 2)
    os._exit(1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_told_instead_of_hanging(library: str, tiny_model: Path) -> None:
    command = [sys.executable, "-c", FORKED, library, str(tiny_model)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, "")
