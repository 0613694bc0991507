"""How a folder's model makes one vector of a text's many, as sentence-transformers writes it down."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from native_host.protocol import errors
from native_host.workers.backends.text import read_json

Pooling = Literal["mean", "cls", "last"]

_KEYS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_MODES: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}


def pooling_of(folder: Path) -> Pooling:
    """What the folder's 1_Pooling/config.json says; the mean where it says nothing.

    Raises invalid_model_file and unsupported.
    """
    file = folder / "1_Pooling" / "config.json"
    said = read_json(file)
    chosen = {_MODES[said["pooling_mode"]]} if said.get("pooling_mode") in _MODES else set()
    chosen |= {pooling for key, pooling in _KEYS.items() if said.get(key)}
    if len(chosen) > 1 or (said and not chosen):
        raise errors.unsupported(f"the pooling that {file} describes")
    return chosen.pop() if chosen else "mean"
