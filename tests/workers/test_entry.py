"""The worker's own side: what it does not do for a request that is gone."""

from __future__ import annotations

import msgspec
import pytest

from native_host.protocol.errors import RpcError
from native_host.workers.entry import WorkerServer
from native_host.workers.messages import CancelNotice, Envelope


async def test_a_request_that_is_cancelled_while_its_turn_has_not_come_is_not_begun() -> None:
    server = WorkerServer({})
    server._submitting.add(5)
    cancel = msgspec.Raw(msgspec.json.encode(CancelNotice(5)))
    server._receive(Envelope(method="$/cancelRequest", params=cancel))
    with pytest.raises(RpcError) as caught:
        server._generate(5, msgspec.Raw(b"not even read"))
    assert caught.value.kind == "cancelled"
