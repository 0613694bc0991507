"""How far the estimate of a model's memory is from what a process really grows by.

    python benchmarks/estimate_error.py [--model FILE.gguf …]

Each case runs in a process of its own, which holds what a worker holds: it notes its resident memory,
loads the model, reads a prompt longer than a batch and generates a few tokens, so that all weights, the KV
cache and the scratch space have been touched, and notes it again. Mapped weights count: they are resident
once touched. That growth is compared with weights_bytes + kv_bytes + compute_bytes; what a worker holds
before it has a model is in neither. Without --model: the built-in one and a random 135M Q8_0 one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from native_host.models.estimate import estimate
from native_host.models.registry import BUILTIN_FILE
from native_host.workers.messages import LoadOptions

ROOT = Path(__file__).resolve().parent.parent
CASES = (
    LoadOptions(threads=1),
    LoadOptions(threads=1, context_length=4096),
    LoadOptions(threads=1, context_length=4096, kv_type="q8_0"),
    LoadOptions(threads=1, kv_cache_tokens=16384, parallel=64),
)
PROMPT_TOKENS = 700
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, action="append", help="a GGUF file; more than one may be given")
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "OPTIONS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(grown_by(arguments.measure[0], msgspec.json.decode(arguments.measure[1], type=LoadOptions)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.model or [BUILTIN_FILE, made_model(Path(folder))]:
            compare(model)
    return 0


def made_model(folder: Path) -> Path:
    """A 135M Q8_0 model of random weights."""
    model = folder / "135m.gguf"
    script = ROOT / "scripts" / "make_random_model.py"
    subprocess.run([sys.executable, script, model, "--preset", "135m", "--type", "q8_0"], check=True)
    return model


def compare(model: Path) -> None:
    """Print the estimate and the measurement of each case."""
    table = Table("options", "weights", "KV", "scratch", "foreseen", "measured", "error", title=model.name)
    for options in CASES:
        foreseen = asyncio.run(estimate(model.absolute(), options))
        planned = foreseen.weights_bytes + foreseen.kv_bytes + foreseen.compute_bytes
        encoded = msgspec.json.encode(options).decode()
        command = [sys.executable, __file__, "--measure", str(model), encoded]
        measured = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        sizes = (foreseen.weights_bytes, foreseen.kv_bytes, foreseen.compute_bytes, planned, measured)
        shown = {key: value for key, value in json.loads(encoded).items() if key != "threads"}
        cells = [f"{size / MIB:.1f}" for size in sizes]
        table.add_row(str(shown or "defaults"), *cells, f"{(planned - measured) / measured:+.1%}")
    Console().print(table)


def grown_by(model: str, options: LoadOptions) -> int:
    """Bytes that this process grows by when it loads and uses a model."""
    import native_host.workers.entry  # what a worker holds anyway
    from native_host.workers.backends.gguf import GgufBackend
    from native_host.workers.messages import Finished, GenerateRequest

    assert native_host.workers.entry is not None
    process = psutil.Process()
    before = process.memory_info().rss
    backend = GgufBackend.open(model, options, lambda fraction: None)
    length = min(PROMPT_TOKENS, backend.info.context_length - 16)
    prompt = [token % 200 + 20 for token in range(length)]
    defaults = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "seed": 1}
    request = GenerateRequest(prompt=prompt, max_tokens=8, ignore_eos=True, **defaults)  # type: ignore[arg-type]
    backend.submit(1, request)
    while not any(isinstance(event, Finished) for event in backend.drain()):
        pass
    return int(process.memory_info().rss - before)


if __name__ == "__main__":
    sys.exit(main())
