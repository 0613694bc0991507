"""Adapters by name: those that a model was loaded with, and those that a request chose of them."""

from __future__ import annotations

from native_host.protocol import errors
from native_host.workers.messages import AdapterFile, AdapterUse


def chosen(uses: list[AdapterUse], loaded: list[AdapterFile]) -> list[tuple[str, float]]:
    """Names and scales of a request's adapters, as the engines take them.

    Raises adapter_not_found, and invalid_params for one that is named twice.
    """
    known = [adapter.name for adapter in loaded]
    for index, use in enumerate(uses):
        if use.name not in known:
            raise errors.adapter_not_found(use.name, known)
        if use.name in [other.name for other in uses[:index]]:
            raise errors.invalid_params(f"adapters[{index}].name", f"{use.name!r} is named twice")
    return [(use.name, use.scale) for use in uses]
