"""A real worker against the estimate of its memory."""

from __future__ import annotations

import asyncio

from native_host.models.estimate import estimate
from native_host.models.registry import BUILTIN_FILE
from native_host.platform.process_memory import footprint
from native_host.workers.messages import LoadOptions
from workers.real_workers import asked, heard, loaded


async def test_a_worker_that_has_used_everything_holds_what_was_foreseen() -> None:
    options = LoadOptions(threads=1, parallel=4)
    foreseen = (await estimate(BUILTIN_FILE, options)).total_bytes
    async with loaded("gguf", BUILTIN_FILE, options) as worker:
        length = worker.info.context_length // 4 - 8
        prompts = [[token % 200 + 20 + number for token in range(length)] for number in range(4)]
        requests = [asked(prompt, max_tokens=4, ignore_eos=True) for prompt in prompts]
        await asyncio.gather(*(heard(worker, request) for request in requests))
        assert worker.pid is not None
        held = footprint(worker.pid)
    assert held is not None
    assert 0.9 < foreseen / held.resident < 1.15  # a tenth of so small a model is a library's pages
