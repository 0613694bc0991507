"""`models.load` and `models.list` over a real worker process whose backend is a fake
(tests/workers/fake_backend_worker.py).
"""

from __future__ import annotations

import pytest

from native_host.models.manager import ModelManager
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import ModelListing, ModelsLoadParams, NoParams
from native_host.service import Service

from .recording import RecordingContext


async def listed(service: Service, name: str) -> ModelListing:
    answer = await service.handle("models.list", NoParams(), RecordingContext())
    assert isinstance(answer, list)
    found: ModelListing = next(each for each in answer if each.name == name)
    return found


async def test_a_loaded_model_is_listed_with_what_it_holds_and_how_long_it_stays(service: Service) -> None:
    before = await listed(service, "fine")
    assert (before.state, before.memory_bytes, before.unload_in_s) == ("available", None, None)
    await service.handle("models.load", ModelsLoadParams(model="fine", keep_alive="1h"), RecordingContext())
    after = await listed(service, "fine")
    assert after.state == "loaded"
    assert (after.memory_bytes or 0) > 1 << 20
    assert 3590 < (after.unload_in_s or 0) <= 3600


async def test_a_model_in_use_is_listed_so(service: Service, manager: ModelManager) -> None:
    async with manager.use("fine"), manager.use("fine"):
        found = await listed(service, "fine")
        assert (found.requests, found.unload_in_s) == (2, None)


@pytest.mark.parametrize(
    ("params", "kind", "said"),
    [
        (ModelsLoadParams(model="fine", keep_alive="soon"), "invalid_params", "keep_alive: 'soon'"),
        (ModelsLoadParams(model="fine", max_memory="lots"), "invalid_params", "max_memory: 'lots'"),
        (ModelsLoadParams(model="fine", max_memory="1MB"), "insufficient_memory", "max_memory is 1 MiB"),
        (ModelsLoadParams(model="fine", quantization="4bit"), "unsupported", "quantization of GGUF"),
        (ModelsLoadParams(model="fine", device="cuda"), "unsupported", "device 'cuda'"),
    ],
)
async def test_overrides_have_their_effect_or_are_refused(
    service: Service, params: ModelsLoadParams, kind: str, said: str
) -> None:
    with pytest.raises(RpcError, match=said) as caught:
        await service.handle("models.load", params, RecordingContext())
    assert caught.value.kind == kind
