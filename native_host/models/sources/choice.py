"""Which files of a repository make up the one model that is wanted: one quantization, never the whole
repository, and never a pickle.

The order of choice where nothing is asked for: GGUF before SafeTensors before ONNX (a GGUF file runs without
any extra); among GGUF files that of `GGUF_ORDER`, which begins with the best balance of size and loss.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from native_host.models.formats import Format

GGUF_ORDER = (
    *("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q4_K_XL", "Q4_K_L", "Q4_0", "IQ4_XS", "IQ4_NL", "Q5_K_S", "Q5_0"),
    *("Q6_K", "Q8_0", "MXFP4", "MXFP4_MOE", "Q3_K_M", "Q3_K_L", "Q3_K_S", "IQ3_M", "IQ3_S", "Q4_1", "Q5_1"),
    *("TQ2_0", "TQ1_0", "F16", "BF16", "F32"),
)
"""Quantizations from the first choice down; those that are not here come after them by name."""

ONNX_ORDER = ("", "quantized", "int8", "q4", "uint8", "fp16", "q4f16", "bnb4")
"""What stands behind `model` or `model_` in an ONNX file's name, from the first choice down."""

_LABEL = re.compile(
    r"(?:^|[-._/])((?:IQ|TQ|Q)\d(?:_[A-Z0-9]+)*|BF16|F16|F32|MXFP4(?:_MOE)?)(?=[-.]|$)", re.IGNORECASE
)
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
_ASIDE = re.compile(r"(?:^|/)(?:mmproj|imatrix)|imatrix\.gguf$", re.IGNORECASE)
_TEXTS = re.compile(
    r"(?:.*config\.json|tokenizer.*\.(?:json|model)|special_tokens_map\.json|added_tokens\.json|vocab\.(?:json|txt)"
    r"|merges\.txt|spiece\.model|sentencepiece.*\.model|chat_template\.(?:jinja|json)|modules\.json)"
)
_POOLING = re.compile(r"\d+_[A-Za-z]+/config\.json")
_WEIGHTS = re.compile(r"model(?:-\d{5}-of-\d{5})?\.safetensors")


class NothingToChooseError(ValueError):
    """The repository does not hold what is wanted; the text says what it holds."""


class Choice(msgspec.Struct, frozen=True):
    """Files of one model. `label` names the choice (`Q4_K_M`, `safetensors`, `onnx`); `model` is the file, or
    the folder ("" is the repository's own), that models.json is to name."""

    format: Format
    label: str
    files: list[str]
    model: str


def quantization_of(path: str) -> str | None:
    """The quantization that a GGUF file's name gives, in capitals."""
    found = _LABEL.findall(unsplit(path))
    return found[-1].upper() if found else None


def is_model_file(name: str) -> bool:
    """Whether a file is a GGUF model, or the first part of one."""
    shard = _SHARD.fullmatch(name)
    first = shard is None or int(shard.group(2)) == 1
    return first and name.lower().endswith(".gguf") and not _ASIDE.search(name)


def unsplit(path: str) -> str:
    """A GGUF file's path without `.gguf`, and without which part of a split model it is."""
    shard = _SHARD.fullmatch(path)
    return shard.group(1) if shard else path.removesuffix(".gguf")


def choose(paths: Sequence[str], wanted: str | None = None) -> Choice:
    """The files to fetch. Raises NothingToChooseError.

    `wanted` is a quantization, `gguf`, `safetensors`, `onnx`, an ONNX variant such as `q4`, or a GGUF file's
    own path.
    """
    asked = wanted.casefold() if wanted else None
    ggufs = _gguf_choices(paths)
    onnxes = _onnx_choices(paths)
    weights = _safetensors(paths)
    choices = [*ggufs, *([weights] if weights else []), *onnxes]
    if not choices:
        raise NothingToChooseError(_nothing(paths))
    if asked is None:
        return choices[0]
    for choice in choices:
        if asked in (choice.format, choice.label.casefold(), choice.model.casefold()):
            return choice
    there = ", ".join(dict.fromkeys(choice.label for choice in choices))
    raise NothingToChooseError(f"it has no {wanted!r}; it has {there}")


def _gguf_choices(paths: Sequence[str]) -> list[Choice]:
    """Every GGUF model, a split one as one, best first."""
    groups: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for path in sorted(paths):
        if not path.lower().endswith(".gguf") or _ASIDE.search(path):
            continue
        shard = _SHARD.fullmatch(path)
        key = shard.group(1) if shard else path
        groups.setdefault(key, []).append(path)
        counts[key] = int(shard.group(3)) if shard else 1
    whole = [files for key, files in groups.items() if len(files) == counts[key]]
    choices = [Choice("gguf", quantization_of(files[0]) or "gguf", files, files[0]) for files in whole]
    return sorted(choices, key=lambda choice: (_rank(choice.label), choice.label, choice.model))


def _rank(label: str) -> int:
    return GGUF_ORDER.index(label) if label in GGUF_ORDER else len(GGUF_ORDER)


def _safetensors(paths: Sequence[str]) -> Choice | None:
    """Config, tokenizer and weights at the top of the repository."""
    top = [path for path in paths if path.endswith(".safetensors") and "/" not in path]
    named = [path for path in top if _WEIGHTS.fullmatch(path)]
    if "model.safetensors" in named:
        named = ["model.safetensors"]
    others = [path for path in top if not path.startswith(("consolidated", "adapter_model"))]
    weights = named or others
    if not weights or "config.json" not in paths:
        return None
    index = [f"{path}" for path in paths if path == "model.safetensors.index.json" and len(weights) > 1]
    return Choice("safetensors", "safetensors", sorted([*weights, *index, *_texts(paths)]), "")


def _texts(paths: Sequence[str]) -> list[str]:
    return [
        path for path in paths if ("/" not in path and _TEXTS.fullmatch(path)) or _POOLING.fullmatch(path)
    ]


def _onnx_choices(paths: Sequence[str]) -> list[Choice]:
    """onnxruntime-genai folders, then single graphs in the order of `ONNX_ORDER`."""
    graphs = [path for path in paths if path.lower().endswith(".onnx")]
    generating = [
        PurePosixPath(path).parent for path in paths if PurePosixPath(path).name == "genai_config.json"
    ]
    choices = [_genai(folder, paths) for folder in sorted(generating)]
    taken = {path for choice in choices for path in choice.files}
    plain = [path for path in graphs if path not in taken and _variant(path) is not None]
    plain.sort(key=lambda path: (_onnx_rank(path), path))
    for path in plain:
        data = [other for other in paths if other.startswith((f"{path}_data", f"{path}.data"))]
        label = _variant(path) or "onnx"
        choices.append(Choice("onnx", label, sorted([path, *data, *_texts(paths)]), ""))
    return choices


def _genai(folder: PurePosixPath, paths: Sequence[str]) -> Choice:
    inside = [path for path in paths if PurePosixPath(path).parent == folder]
    kept = [path for path in inside if not path.lower().endswith((".bin", ".pt", ".pth", ".md", ".py"))]
    name = "" if str(folder) == "." else str(folder)
    return Choice("onnx", folder.name or "onnx", sorted(kept), name)


def _variant(path: str) -> str | None:
    """What follows `model` in an ONNX file's name; None for files that are a part of something else."""
    name = PurePosixPath(path).stem
    if name == "model":
        return ""
    return name.removeprefix("model_") if name.startswith("model_") else None


def _onnx_rank(path: str) -> int:
    variant = _variant(path)
    return ONNX_ORDER.index(variant) if variant in ONNX_ORDER else len(ONNX_ORDER)


def _nothing(paths: Sequence[str]) -> str:
    if any(path.lower().endswith(".gguf") for path in paths):
        return "its GGUF files are parts of split models, and not all parts are there"
    if any(path.endswith((".bin", ".pt", ".pth", ".ckpt")) for path in paths):
        return (
            "its weights are pickles, which can run code when they are opened; look for SafeTensors or GGUF"
        )
    return "it holds no model in GGUF, SafeTensors or ONNX"
