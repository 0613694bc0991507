"""Which device a graph runs on."""

from __future__ import annotations

import pytest

from native_host.protocol.errors import RpcError
from native_host.workers.backends.onnx.providers import place


def test_what_nobody_asks_for_is_chosen_with_a_reason() -> None:
    chosen = place(None)
    assert chosen.providers[-1] == "CPUExecutionProvider"
    assert chosen.reason
    assert place("AUTO") == chosen


def test_what_is_asked_for() -> None:
    assert place("cpu").providers == ["CPUExecutionProvider"]
    with pytest.raises(RpcError) as refused:
        place("abacus")
    assert refused.value.kind == "invalid_params"
    with pytest.raises(RpcError) as refused:
        place("directml:0")
    assert refused.value.kind == "unsupported"
