"""How far the estimate of a model's memory is from what its worker really holds.

    python benchmarks/estimate_error.py [--model FILE.gguf …] [--case NUMBER …]

Each case is a worker of its own, as the host starts it. As many requests as it decodes at once fill its KV
cache together, so that all that it will ever touch has been touched. What it then holds by the manager's own
count (memory that it shares counted by its part) is compared with the estimate's total. Without --model: the
built-in one and random ones, 135M Q8_0 and 0.5B Q4_0.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from native_host.models.estimate import Estimate, estimate
from native_host.models.registry import BUILTIN_FILE
from native_host.platform.process_memory import footprint
from native_host.workers.backends.gguf import PARALLEL
from native_host.workers.launcher import ProcessLauncher
from native_host.workers.messages import Finished, GenerateRequest, LoadOptions, LoadRequest
from native_host.workers.supervisor import Worker

ROOT = Path(__file__).resolve().parent.parent
CASES = (
    LoadOptions(threads=2),
    LoadOptions(threads=2, context_length=4096),
    LoadOptions(threads=2, context_length=4096, kv_type="q8_0"),
    LoadOptions(threads=2, kv_cache_tokens=16384, parallel=64),
)
NEW_TOKENS = 8
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, action="append", help="a GGUF file; more than one may be given")
    parser.add_argument(
        "--case", type=int, action="append", choices=range(len(CASES)), help="which options; default: all"
    )
    arguments = parser.parse_args()
    models = arguments.model or [BUILTIN_FILE, made("135m", "q8_0"), made("0.5b", "q4_0")]
    cases = [CASES[number] for number in arguments.case or range(len(CASES))]
    for model in models:
        with tempfile.TemporaryDirectory() as folder:  # whoever else maps the file would bear a part of it
            compare(Path(shutil.copy(model, folder)), cases)
    return 0


def made(preset: str, kind: str) -> Path:
    """A model of random weights, kept for the next time."""
    script = ROOT / "scripts" / "make_random_model.py"
    command = [sys.executable, str(script), "--cached", "--preset", preset, "--type", kind]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def compare(model: Path, cases: list[LoadOptions]) -> None:
    """Print the estimate and the measurement of each case."""
    columns = ("options", "weights", "KV", "scratch", "worker", "foreseen", "measured", "error")
    table = Table(*columns, title=f"{model.name} (MiB)")
    for case in cases:
        # What leaves the KV cache comes with use, and is never more than was said.
        options = msgspec.structs.replace(case, spill_bytes=0)
        foreseen, held = asyncio.run(both(model, options))
        sizes = (foreseen.weights_bytes, foreseen.kv_bytes, foreseen.compute_bytes, foreseen.worker_bytes)
        total = foreseen.total_bytes
        shown = msgspec.to_builtins(msgspec.structs.replace(case, threads=None))
        cells = [f"{size / MIB:.1f}" for size in (*sizes, total, held)]
        table.add_row(str(shown or "defaults"), *cells, f"{(total - held) / held:+.1%}")
    Console().print(table)


async def both(model: Path, options: LoadOptions) -> tuple[Estimate, int]:
    """The estimate, and what a worker holds that has used everything."""
    foreseen = await estimate(model, options)
    return foreseen, await measured(model, options)


async def measured(model: Path, options: LoadOptions) -> int:
    """Bytes that a worker of this model holds once its KV cache is full."""
    request = LoadRequest("gguf", str(model), options)
    worker = await Worker.start(
        ProcessLauncher(), "measured", request, on_progress=lambda _: None, on_end=lambda _: None, stall_s=60
    )
    try:
        sequences = options.parallel or PARALLEL
        cells = options.kv_cache_tokens or worker.info.context_length
        length = min(cells // sequences, worker.info.context_length) - NEW_TOKENS
        await asyncio.gather(*(fill(worker, number, length) for number in range(sequences)))
        assert worker.pid is not None
        held = footprint(worker.pid)
        assert held is not None
        return held.resident
    finally:
        await worker.stop()


async def fill(worker: Worker, number: int, length: int) -> None:
    """Have the worker read a prompt that no other request shares, and generate a little."""
    prompt = [(token * 31 + number * 7) % 200 + 20 for token in range(length)]
    request = GenerateRequest(
        prompt=prompt,
        max_tokens=NEW_TOKENS,
        ignore_eos=True,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        seed=1,
    )
    async with worker.generate(request) as batches:
        async for batch in batches:
            if any(isinstance(event, Finished) for event in batch):
                return


if __name__ == "__main__":
    sys.exit(main())
