"""What `hardware.info` says, in words: for `hardware`, `doctor` and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from native_host.cli.output import shown_path, size
from native_host.protocol.messages import HardwareInfoResult

NOTABLE_FEATURES = (
    *("avx", "f16c", "fma", "avx2", "bmi2", "avx512f", "avx512vnni", "avx512bf16", "avxvnni", "amx-int8"),
    *("neon", "dotprod", "i8mm", "sve"),
)


class GpuModule(msgspec.Struct, frozen=True):
    """What a pack has for one kind of GPU: the interface (`cuda`), and what it was built with and for."""

    name: str
    toolkit: str
    architectures: str


class Pack(msgspec.Struct, frozen=True):
    """What people ask of a runtime pack's `manifest.json`: what it was built from, which build it is, and
    which GPUs it can use.
    """

    source: str
    build_id: str
    compiler: str
    gpu_modules: list[GpuModule] = []


def read_pack(library: str | None) -> Pack | None:
    """The manifest beside the library; None where there is none, or none that can be read."""
    if library is None:
        return None
    try:
        return msgspec.json.decode(Path(library).with_name("manifest.json").read_bytes(), type=Pack)
    except (OSError, msgspec.DecodeError):
        return None


def cpu_line(info: HardwareInfoResult) -> str:
    """The processor and its cores."""
    cpu = info.cpu
    cores = f"{cpu.get('physical_cores') or '?'} cores, {cpu.get('logical_cores') or '?'} threads"
    limit = cpu.get("cgroup_cpu_limit")
    limited = f", limited to {limit:g}" if limit else ""
    return f"{cpu.get('brand') or cpu.get('vendor') or 'unknown'} ({cores}{limited})"


def feature_line(info: HardwareInfoResult) -> str:
    """The features that matter for speed, of those that this machine has."""
    present = set(info.cpu.get("features") or ())
    return " ".join(name for name in NOTABLE_FEATURES if name in present) or "none that matter here"


def memory_line(info: HardwareInfoResult) -> str:
    """Total and available memory."""
    total, available = _bytes(info.memory, "total"), _bytes(info.memory, "available")
    return f"{size(available)} available of {size(total)}"


def gpu_lines(info: HardwareInfoResult) -> list[str]:
    """One line a GPU."""
    return [f"{gpu.get('name', 'unknown')} ({size(_bytes(gpu, 'memory_total'))})" for gpu in info.gpus]


def cache_line(info: HardwareInfoResult) -> str:
    """The caches by level, as one core sees them."""
    caches = [each for each in info.cpu.get("caches") or () if each.get("kind") != "instruction"]
    return ", ".join(f"L{each.get('level')} {size(_bytes(each, 'size'))}" for each in caches) or "unknown"


def runtime_lines(info: HardwareInfoResult) -> list[tuple[str, str]]:
    """Which runtime was chosen, and why: label and text."""
    path = info.runtime.get("path")
    if path is None:
        return [("runtime", "none that this machine can run")]
    reason = next((each.get("reason") for each in tried(info) if each.get("path") == path), None)
    lines = [("runtime", shown_path(path)), ("chosen because", str(reason or "nobody says why"))]
    pack = read_pack(path)
    if pack is not None:
        lines.append(("built from", f"{pack.source} by {pack.compiler}, build {pack.build_id[:12]}"))
        lines.append(("GPU backends", _gpu_backends(pack, info)))
    return lines


def _gpu_backends(pack: Pack, info: HardwareInfoResult) -> str:
    """What the pack has for GPUs, and whether there is one for it."""
    if not pack.gpu_modules:
        return "none: scripts/build_runtime.py --native --cuda builds a pack with one"
    there = {gpu.get("backend") for gpu in info.gpus}
    return ", ".join(
        f"{module.name} ({module.toolkit}, for {module.architectures}"
        f"{'' if module.name in there else '; no such GPU with its driver here'})"
        for module in pack.gpu_modules
    )


def tried(info: HardwareInfoResult) -> list[dict[str, Any]]:
    """Every runtime that was looked at, with its outcome and reason."""
    return [each for each in info.runtime.get("tried") or () if isinstance(each, dict)]


def _bytes(facts: dict[str, Any], name: str) -> int | None:
    value = facts.get(f"{name}_bytes", facts.get(name))
    return value if isinstance(value, int) else None
