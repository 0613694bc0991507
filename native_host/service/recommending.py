"""`models.recommend`: what suits this machine, of what is here and of what could be pulled."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from native_host.models.inspection import size_of
from native_host.models.manager import ModelManager
from native_host.models.recommend.bandwidth import memory_speed
from native_host.models.recommend.prediction import RATE, READING_SPEED, Prediction, merit, predict
from native_host.models.recommend.table import KNOWN, KnownModel
from native_host.models.spec import ModelSpec
from native_host.protocol.messages import (
    MachineFigures,
    ModelsRecommendParams,
    ModelsRecommendResult,
    RecommendedModel,
)
from native_host.service.context import RequestContext

EXPLANATION = (
    "Memory: weights, a 16-bit KV cache for the context, and what computing takes. Speed: each token reads "
    f"all (active) weights once, at the speed of memory that was measured here, times what llama.cpp's "
    f"kernels reach of it ({RATE['quantized']} for quantized weights, {RATE['plain']} for 16 bits). GPUs are "
    "not counted. Expect a third more or less. First comes the largest that fits and answers at "
    f"{READING_SPEED:g} tokens a second or more."
)


class _Candidate(NamedTuple):
    parameters: float
    prediction: Prediction
    told: RecommendedModel


class RecommendingService:
    """Handler for `models.recommend`."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    async def recommend(
        self, params: ModelsRecommendParams, context: RequestContext
    ) -> ModelsRecommendResult:
        """The models of the registry that are here, and a table of well-known ones, best first."""
        specs = [spec for spec in self._manager.registry.specs() if spec.present()]
        machine = await asyncio.to_thread(_machine)
        candidates = [_known(model, params.context_length, machine) for model in KNOWN]
        candidates += await asyncio.to_thread(lambda: [_here(spec, machine) for spec in specs])
        candidates.sort(key=lambda candidate: merit(candidate.parameters, candidate.prediction))
        return ModelsRecommendResult(
            machine=machine, models=[candidate.told for candidate in candidates], explanation=EXPLANATION
        )


def _machine() -> MachineFigures:
    import tabagent_model  # native code: not on the way to the first ping

    cpu = tabagent_model.get_cpu_info()
    available = int(tabagent_model.get_memory_info()["usable_bytes"])
    threads = max(1, min(cpu["physical_cores"], cpu["available_cores"]))
    speed = memory_speed(f"{cpu['brand']}, {threads} threads", threads, available)
    return MachineFigures(
        available_bytes=available, read_bytes_per_s=round(speed.bytes_per_s), threads=threads
    )


def _known(model: KnownModel, context_length: int, machine: MachineFigures) -> _Candidate:
    prediction = predict(
        model.weights_bytes,
        model.read_bytes,
        model.kv_bytes(context_length),
        machine.available_bytes,
        machine.read_bytes_per_s,
    )
    source = f"hf:{model.repo}:{model.quantization}"
    told = _told(model.name, model.weights_bytes, prediction)
    told.parameters = int(model.parameters)
    told.quantization = model.quantization
    told.command = f"native-host models pull {source}"
    return _Candidate(model.parameters, prediction, told)


def _here(spec: ModelSpec, machine: MachineFigures) -> _Candidate:
    """A model of the registry, by the size of its files: what is read of them is not known without opening
    them."""
    size = (size_of(spec.stored) if spec.stored is not None else None) or 0
    plain = spec.format != "gguf" or (spec.file is not None and "F16" in spec.file.name.upper())
    prediction = predict(size, size, 0, machine.available_bytes, machine.read_bytes_per_s, plain)
    told = _told(spec.name, size, prediction)
    told.installed = True
    return _Candidate(size * 8 / 16 if plain else size * 8 / 5, prediction, told)


def _told(name: str, weights_bytes: int, prediction: Prediction) -> RecommendedModel:
    return RecommendedModel(
        name=name,
        weights_bytes=weights_bytes,
        memory_bytes=prediction.memory_bytes,
        decode_tokens_per_s=round(prediction.decode_tokens_per_s, 1),
        fits=prediction.fits,
    )
