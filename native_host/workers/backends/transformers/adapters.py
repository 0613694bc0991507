"""LoRA adapters from folders that peft wrote: several beside one model, switched between steps.

Nothing in a folder is run, and pickles are not opened.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from native_host.protocol import errors
from native_host.workers.backends.text import read_json
from native_host.workers.messages import AdapterFile

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_NOT_APART = {
    "modules_to_save": "replaces whole modules",
    "layer_replication": "repeats layers",
    "trainable_token_indices": "changes the table of tokens",
    "alora_invocation_tokens": "begins to work in the middle of a text",
    "auto_mapping": "names a class of its own",
}
"""What would change the model for requests that did not choose the adapter, or needs more than matrices."""


class Adapters:
    """The adapters of a model, of which a step uses some."""

    def __init__(self, model: PreTrainedModel, files: list[AdapterFile]) -> None:
        """Load them. Raises invalid_model_file."""
        # torch allows no dots in the names of modules.
        self._names = {file.name: f"adapter{index}" for index, file in enumerate(files)}
        for file in files:
            _load(model, Path(file.path), self._names[file.name])
        self._layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
        model.requires_grad_(False)
        self.use([])

    def use(self, adapters: list[tuple[str, float]]) -> None:
        """Compute with these, by name and scale, from now on."""
        scales = {self._names[name]: scale for name, scale in adapters}
        for layer in self._layers:
            layer.set_adapter(list(scales), inference_mode=True)
            for name, scale in scales.items():
                layer.set_scale(name, scale)


def _load(model: PreTrainedModel, folder: Path, name: str) -> None:
    config = _read_config(folder)
    weights = _read_weights(folder)
    try:
        with warnings.catch_warnings():  # that there are several is meant
            warnings.simplefilter("ignore", UserWarning)
            peft.inject_adapter_in_model(config, model, name)
            loaded = peft.set_peft_model_state_dict(model, weights, name)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise errors.invalid_model_file(str(folder), f"does not fit this model: {error}") from None
    if loaded.unexpected_keys:
        problem = f"the tensor '{loaded.unexpected_keys[0]}' has no place in this model"
        raise errors.invalid_model_file(str(folder / _WEIGHTS), problem)
    missing = [key for key in loaded.missing_keys if f".lora_A.{name}." in key or f".lora_B.{name}." in key]
    if missing:
        raise errors.invalid_model_file(str(folder / _WEIGHTS), f"the tensor '{missing[0]}' is missing")


def _read_config(folder: Path) -> peft.LoraConfig:
    file = folder / _CONFIG
    if not file.is_file():
        problem = f"has no {_CONFIG}: an adapter to a SafeTensors model is a folder that peft wrote"
        raise errors.invalid_model_file(str(folder), problem)
    given: dict[str, Any] = read_json(file)
    if given.get("peft_type") != "LORA":
        raise errors.invalid_model_file(str(file), f"peft_type is {given.get('peft_type')!r}, not 'LORA'")
    for key, problem in _NOT_APART.items():
        if given.get(key):
            raise errors.invalid_model_file(str(file), f"{key}: it {problem}, which is not supported")
    if given.get("bias", "none") != "none":
        raise errors.invalid_model_file(str(file), "bias: changed biases are not supported")
    # How matrices begin that are about to be replaced; some ways would change the model's own weights.
    given["init_lora_weights"] = True
    given["inference_mode"] = True
    try:
        return peft.LoraConfig(**given)
    except (TypeError, ValueError) as error:
        raise errors.invalid_model_file(str(file), str(error)) from None


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    file = folder / _WEIGHTS
    if not file.is_file():
        problem = f"has no {_WEIGHTS}"
        if (folder / "adapter_model.bin").is_file():
            problem += ", only a pickle: opening one runs whatever code is in it"
        raise errors.invalid_model_file(str(folder), problem)
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise errors.invalid_model_file(str(file), f"cannot be read: {error}") from None
    return {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
