"""A SafeTensors folder as it comes from a hub: what kind of model it holds, and whether it may be opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

from native_host.protocol import errors

Kind = Literal["generate", "embed", "rerank"]

COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "LICENSE",
    "README.md",
)
"""Files that belong to a model whatever its weights' format."""

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("ForCausalLM", "generate"),
    ("LMHeadModel", "generate"),
    ("ForSequenceClassification", "rerank"),
    ("Model", "embed"),
)


class Checkpoint:
    """One folder. Raises invalid_model_file and unsupported on opening."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise self._invalid("is not a folder with SafeTensors in it")
        self.config = self._document("config.json")
        self._refuse_code()
        self._refuse_pickles()
        self.kind = self._kind()

    def copy_companions(self, target: Path) -> None:
        """Copy tokenizer and configuration files."""
        for name in COMPANIONS:
            if (self.folder / name).is_file():
                (target / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(self.folder / name, target / name)

    def _document(self, name: str) -> dict[str, Any]:
        try:
            document = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise self._invalid(f"has no {name}") from None
        except ValueError as error:
            raise self._invalid(f"{name} is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise self._invalid(f"{name} is not a JSON object")
        return document

    def _refuse_code(self) -> None:
        """A model that brings Python code of its own is not run."""
        for name in ("config.json", "tokenizer_config.json"):
            if (self.folder / name).is_file() and "auto_map" in self._document(name):
                raise errors.unsupported(f"models that bring code of their own (auto_map in {name})")

    def _refuse_pickles(self) -> None:
        if any(self.folder.glob("*.safetensors")):
            return
        pickles = sorted(path.name for end in ("*.bin", "*.pt", "*.pth") for path in self.folder.glob(end))
        if pickles:
            raise errors.unsupported(f"weights as pickles ({pickles[0]}), since opening one runs its code")
        raise self._invalid("holds no *.safetensors")

    def _kind(self) -> Kind:
        if self.config.get("is_encoder_decoder"):
            raise errors.unsupported("models with an encoder and a decoder")
        names = self.config.get("architectures") or []
        name = names[0] if names and isinstance(names[0], str) else ""
        for end, kind in _KINDS:
            if name.endswith(end):
                return kind
        raise errors.unsupported(f"the architecture {name or 'that config.json does not name'}")

    def _invalid(self, problem: str) -> Exception:
        return errors.invalid_model_file(str(self.folder), problem)
