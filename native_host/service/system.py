"""`hardware.info`: what this machine is, and which runtime suits it."""

from __future__ import annotations

import asyncio

from native_host.protocol.messages import HardwareInfoResult, NoParams
from native_host.service.context import RequestContext

_RUNTIME = "libllama.so"


class SystemService:
    """Handlers for facts of the machine."""

    async def hardware_info(self, params: NoParams, context: RequestContext) -> HardwareInfoResult:
        """CPU, GPUs, memory, and the runtime with the reason for it."""
        return await asyncio.to_thread(_hardware_info)


def _hardware_info() -> HardwareInfoResult:
    import tabagent_model  # native code: not on the way to the first ping

    tried = tabagent_model.explain_binary(_RUNTIME)
    chosen = next((each for each in tried if each.get("outcome") == "chosen"), None)
    return HardwareInfoResult(
        cpu=dict(tabagent_model.get_cpu_info()),
        cpu_variant=tabagent_model.get_cpu_variant(),
        gpus=[dict(gpu) for gpu in tabagent_model.get_gpu_info()],
        memory=dict(tabagent_model.get_memory_info()),
        runtime={"path": chosen["path"] if chosen else None, "tried": [dict(each) for each in tried]},
    )
