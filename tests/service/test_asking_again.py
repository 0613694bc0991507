"""Requests that change nothing are asked again, of another worker, where theirs dies; in real worker
processes with a fake backend.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from native_host.models.manager import ModelManager
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import (
    ApplyTemplateParams,
    ChatMessage,
    DetokenizeParams,
    EmbedParams,
    RerankParams,
    TokenizeParams,
)
from native_host.service import Service

from .recording import RecordingContext

METHODS = ["embed", "rerank", "tokenize", "detokenize", "models.apply_template"]


def saying(method: str, text: str) -> msgspec.Struct:
    """Params of a request that brings a text before the fake backend."""
    if method == "embed":
        return EmbedParams(model="fine", input=text)
    if method == "rerank":
        return RerankParams(model="fine", query=text, documents=["document"])
    if method == "tokenize":
        return TokenizeParams(model="fine", text=text)
    if method == "detokenize":
        return DetokenizeParams(model="fine", tokens=list(text.encode()))
    return ApplyTemplateParams(model="fine", messages=[ChatMessage(role="user", content=text)])


@pytest.mark.parametrize("method", METHODS)
async def test_a_worker_that_dies_in_the_middle_is_replaced(
    service: Service, manager: ModelManager, tmp_path: Path, method: str
) -> None:
    told = tmp_path / "told"
    told.touch()
    answer = await service.handle(method, saying(method, f"die once {told}"), RecordingContext())
    assert answer is not None
    assert not told.exists()  # so one worker has died of it
    assert manager.events.counts["fine", "loaded", ""] == 2


@pytest.mark.parametrize("method", METHODS)
async def test_two_workers_that_die_are_two_attempts(service: Service, method: str) -> None:
    with pytest.raises(RpcError, match=r"SIGKILL.*\(attempts: 2\)") as caught:
        await service.handle(method, saying(method, "die"), RecordingContext())
    assert (caught.value.kind, caught.value.data["attempts"]) == ("worker_crashed", 2)


@pytest.mark.parametrize("method", METHODS)
async def test_a_worker_that_has_died_before_is_replaced(
    service: Service, manager: ModelManager, method: str
) -> None:
    async with manager.use("fine") as lease:
        lease.worker.end(RpcError("worker_crashed", "killed by the test"))
        assert await service.handle(method, saying(method, "text"), RecordingContext()) is not None
