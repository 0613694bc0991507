"""The module for NVIDIA's GPUs: which toolkit builds it, what makes it another one, and how the pack tells of
it. No compiler runs here.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from runtime_build import cuda, pack
from runtime_build.cuda import CudaInputs, Toolkit
from runtime_build.failure import BuildFailure
from runtime_build.inputs import BuildInputs
from runtime_build.modules import Modules
from runtime_build.toolchain import Toolchain

ROOT = Path(__file__).resolve().parents[2]
TOOLCHAIN = Toolchain("cc", "c++", "gcc 12.2.0", "cmake", "ninja")
PARTS = ("include/cuda_runtime.h", "include/cublas_v2.h", "lib64/libcudart.so", "lib64/libcublas.so")


def make_toolkit(root: Path, *parts: str) -> Path:
    """A folder that looks like a toolkit with these parts beside nvcc."""
    for part in parts:
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        (root / part).touch()
    nvcc = root / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True, exist_ok=True)
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 13.5, V13.5.37'\n", encoding="utf-8")
    nvcc.chmod(0o755)
    return nvcc


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No toolkit is found but where a test puts one."""
    for name in ("CUDACXX", "CUDA_PATH", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cuda, "places_of_nvcc", lambda: iter([tmp_path / "toolkit" / "bin" / "nvcc"]))
    return tmp_path / "toolkit"


@pytest.fixture
def inputs(tmp_path: Path) -> CudaInputs:
    nvcc = make_toolkit(tmp_path / "cuda", *PARTS)
    libraries = tmp_path / "cuda" / "lib64"
    toolkit = Toolkit(nvcc, "13.5.37", libraries / "libcudart.so", libraries / "libcublas.so", True)
    return CudaInputs(toolkit, TOOLCHAIN, "90")


def test_a_missing_toolkit_is_told_with_two_ways_to_get_one(nowhere: Path) -> None:
    with pytest.raises(
        BuildFailure, match=r"no nvcc found .*install NVIDIA's CUDA toolkit, or: .* nvidia-cuda-nvcc"
    ):
        Toolkit.find()


@pytest.mark.parametrize("missing", PARTS)
def test_what_a_toolkit_lacks_is_named(nowhere: Path, missing: str) -> None:
    make_toolkit(nowhere, *(part for part in PARTS if part != missing))
    name = Path(missing).name.removesuffix(".so")
    with pytest.raises(BuildFailure, match=rf"has no {name}.*nvidia-cublas"):
        Toolkit.find()


def test_toolkits_of_all_layouts_are_found(nowhere: Path, tmp_path: Path) -> None:
    parts = ("include/cuda_runtime.h", "include/cublas_v2.h", "lib/libcudart.so.13", "lib/libcublas.so.13")
    make_toolkit(nowhere, *parts)
    found = Toolkit.find()
    assert (found.version, found.root, found.has_driver_stub) == ("13.5.37", nowhere, False)
    assert (found.cudart.name, found.cublas.name) == ("libcudart.so.13", "libcublas.so.13")
    make_toolkit(nowhere, "lib64/stubs/libcuda.so")
    assert Toolkit.find().has_driver_stub


def test_it_is_looked_for_where_the_environment_says_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    beside = make_toolkit(packages / "nvidia" / "cu13", *PARTS)
    monkeypatch.setattr(sys, "path", [str(packages)])
    monkeypatch.setenv("CUDACXX", str(tmp_path / "own" / "nvcc"))
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "cuda"))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    places = list(cuda.places_of_nvcc())
    assert places[:3] == [tmp_path / "own" / "nvcc", tmp_path / "cuda" / "bin" / "nvcc", beside]


def test_what_makes_another_module(inputs: CudaInputs) -> None:
    others = [
        replace(inputs, architectures="86"),
        replace(inputs, toolkit=replace(inputs.toolkit, version="12.9.1")),
        replace(inputs, toolkit=replace(inputs.toolkit, has_driver_stub=False)),
        replace(inputs, toolchain=replace(TOOLCHAIN, compiler="gcc 13.1.0")),
    ]
    ids = {inputs.build_id, *(other.build_id for other in others)}
    assert len(ids) == 5
    moved = replace(inputs, toolkit=replace(inputs.toolkit, nvcc=Path("/elsewhere/bin/nvcc")))
    assert moved.build_id == inputs.build_id


def test_architectures_that_nvcc_could_not_mean_are_refused(nowhere: Path) -> None:
    make_toolkit(nowhere, *PARTS)
    for architectures in ("all", "86,", "sm_90", "86 90"):
        with pytest.raises(BuildFailure, match="name architectures like"):
            cuda.find(architectures)


@pytest.mark.skipif(sys.platform != "linux", reason="the module is built on Linux only")
def test_a_pack_for_gpus_is_one_for_the_processor_too(inputs: CudaInputs, tmp_path: Path) -> None:
    known = Modules({"x64": []}, best="x64")
    plain = BuildInputs(ROOT, TOOLCHAIN, known, known.native)
    both = replace(plain, cuda=inputs)
    assert both.objects_id == plain.objects_id
    assert both.build_id != plain.build_id
    built, module = tmp_path / "bin", tmp_path / cuda.FILE
    built.mkdir()
    for name in [pack.library_name(each) for each in ("llama", "ggml", "ggml-base", "tabagent_shim")]:
        (built / name).write_text(name)
    (built / pack.module_name("x64")).touch()
    module.write_text("for GPUs")
    pack.assemble(built, both, tmp_path / "pack", module)
    assert pack.is_right(tmp_path / "pack", {both.build_id})
    assert pack.is_right(tmp_path / "pack", {plain.build_id})
    assert not pack.is_right(tmp_path / "pack", {"another"})
    pack.assemble(built, plain, tmp_path / "plain")
    assert not pack.is_right(tmp_path / "plain", {both.build_id})
    manifest = pack.manifest(both, tmp_path / "pack", [cuda.FILE])
    assert manifest["gpu_modules"] == [
        {"name": "cuda", "file": cuda.FILE, "toolkit": "CUDA 13.5.37", "architectures": "90"}
    ]
