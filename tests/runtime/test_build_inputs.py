"""Which changes make another pack, and which leave the compiled objects in use."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from runtime_build import inputs as inputs_module
from runtime_build.inputs import BuildInputs
from runtime_build.modules import Modules
from runtime_build.toolchain import Toolchain

ROOT = Path(__file__).resolve().parents[2]
TOOLCHAIN = Toolchain("cc", "c++", "gcc 12.2.0", "cmake", "ninja")
MODULES = Modules({"x64": [], "haswell": ["avx2"], "zen4": ["avx2", "avx512f"]}, best="zen4")


@pytest.fixture
def inputs(tmp_path: Path) -> BuildInputs:
    shutil.copytree(ROOT / "rust" / "llama" / "shim", tmp_path / "rust" / "llama" / "shim")
    return BuildInputs(tmp_path, TOOLCHAIN, MODULES, MODULES.native)


def test_the_same_inputs_have_the_same_id(inputs: BuildInputs) -> None:
    assert inputs.build_id == replace(inputs).build_id
    assert len(inputs.build_id) == 16


def test_native_is_the_plain_module_and_the_best() -> None:
    assert MODULES.native == ("x64", "zen4")
    assert replace(MODULES, best="x64").native == ("x64",)


def test_other_modules_make_another_pack_of_the_same_objects(inputs: BuildInputs) -> None:
    every = replace(inputs, names=MODULES.every)
    assert (inputs.variants, every.variants) == ("native", "all")
    assert every.build_id != inputs.build_id
    assert every.objects_id == inputs.objects_id


def test_another_shim_makes_another_pack_of_the_same_objects(inputs: BuildInputs) -> None:
    before = inputs.build_id, inputs.objects_id
    (inputs.shim / "shim.cpp").write_text("// nothing\n", encoding="utf-8")
    assert inputs.build_id != before[0]
    assert inputs.objects_id == before[1]


def test_another_compiler_or_flag_makes_everything_anew(
    inputs: BuildInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(inputs, toolchain=replace(TOOLCHAIN, compiler="gcc 13.1.0"))
    assert other.build_id != inputs.build_id
    assert other.objects_id != inputs.objects_id
    before = inputs.build_id, inputs.objects_id
    monkeypatch.setitem(inputs_module.FLAGS, "GGML_OPENMP", "ON")
    assert (inputs.build_id, inputs.objects_id) != before
    assert inputs.objects_id != before[1]


def test_where_the_checkout_lies_does_not_matter(inputs: BuildInputs, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(inputs.shim, elsewhere / "rust" / "llama" / "shim")
    assert replace(inputs, root=elsewhere).build_id == inputs.build_id
