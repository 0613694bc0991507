"""What several APIs do to vectors."""

from __future__ import annotations

import math

from native_host.protocol import errors


def shortened(vector: list[float], dimensions: int) -> list[float]:
    """Its beginning, scaled to length 1: what models trained for it are made for.

    Raises invalid_params.
    """
    if dimensions > len(vector):
        raise errors.invalid_params("dimensions", f"the model's vectors have {len(vector)}")
    kept = vector[:dimensions]
    length = math.sqrt(math.fsum(value * value for value in kept))
    return [value / length for value in kept] if length else kept
