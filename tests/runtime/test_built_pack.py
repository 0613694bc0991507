"""The pack in the package, as the last build left it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runtime_build import cache, pack, source
from runtime_build.inputs import FLAGS

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "build_runtime.py"
RUNTIME = ROOT / "model-bindings" / "python" / "tabagent_model" / "runtime"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RUNTIME / "manifest.json").read_text(encoding="utf-8"))
    return loaded


def test_the_manifest_says_what_it_is(manifest: dict[str, Any]) -> None:
    assert manifest["format"] == 1
    assert manifest["source"] == "llama-cpp-python 0.3.36"
    assert manifest["llama_version"] == source.LLAMA_VERSION
    assert manifest["ggml_version"] == source.GGML_VERSION
    assert manifest["build_flags"] == FLAGS
    assert manifest["variants"] in ("native", "all")
    assert pack.is_right(RUNTIME, {manifest["build_id"]})


def test_every_file_has_its_place(manifest: dict[str, Any]) -> None:
    modules = [module["file"] for module in manifest["cpu_modules"]]
    named = {manifest["library"], manifest["shim"], pack.library_name("ggml"), pack.library_name("ggml-base")}
    assert set(manifest["files"]) == named | set(modules)
    assert manifest["cpu_modules"][0]["features"] == [], "the first module runs everywhere"


def test_the_versions_are_those_of_the_sources(manifest: dict[str, Any]) -> None:
    strings = (RUNTIME / manifest["library"]).read_bytes()
    assert source.LLAMA_VERSION.encode() in strings
    assert source.GGML_VERSION.encode() in (RUNTIME / pack.library_name("ggml-base")).read_bytes()


def test_no_file_names_a_folder_of_the_builder(manifest: dict[str, Any]) -> None:
    folders = [cache.directory("source"), cache.directory("build"), ROOT]
    for name in manifest["files"]:
        content = (RUNTIME / name).read_bytes()
        assert not [folder for folder in folders if str(folder).encode() in content], name


@pytest.mark.skipif(sys.platform != "linux", reason="ELF is Linux's")
def test_libraries_search_their_own_folder_only(manifest: dict[str, Any]) -> None:
    for name in manifest["files"]:
        assert b"$ORIGIN\0" in (RUNTIME / name).read_bytes(), name


def test_a_second_run_finds_nothing_to_do(manifest: dict[str, Any]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in RUNTIME.iterdir()}
    command = [sys.executable, str(SCRIPT), "--native"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "built" not in result.stderr
    assert {path.name: path.stat().st_mtime_ns for path in RUNTIME.iterdir()} == before
