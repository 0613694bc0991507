"""One stream's decode speed: a spawned host over stdio against llama-bench's `tg`,
in turns, same file, same threads.

    python scripts/build_runtime.py --tools          # builds llama-bench from the same sources, once
    python benchmarks/one_stream.py --llama-bench PATH [--model FILE.gguf] [--tokens 128] [--rounds 5]

Without --model a 135M Q8_0 model of random weights is made. A round is one run of each; what counts is the
median of the rounds' ratios, since machines drift.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from native_host.client import Host

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "The host answers"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llama-bench", type=Path, required=True, help="the peer")
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or made_model(Path(folder))
        rows = measure(model, arguments.llama_bench, arguments.tokens, arguments.threads, arguments.rounds)
    show(rows, arguments.tokens)
    return 0


def made_model(folder: Path) -> Path:
    """A 135M Q8_0 model of random weights."""
    model = folder / "135m.gguf"
    script = ROOT / "scripts" / "make_random_model.py"
    subprocess.run([sys.executable, script, model, "--preset", "135m", "--type", "q8_0"], check=True)
    return model


def measure(model: Path, bench: Path, tokens: int, threads: int, rounds: int) -> list[tuple[float, float]]:
    """(ours, peer's) tokens/s of each round; a first round warms both up and does not count."""
    entry = {"type": "gguf", "path": str(model), "context_length": 2048, "threads": threads}
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "models.json"
        registry.write_text(json.dumps({"models": {"bench": entry}}), encoding="utf-8")
        with Host.spawn(models=registry) as host:
            rows = [(ours(host, tokens), peers(bench, model, tokens, threads)) for _ in range(rounds + 1)]
    return rows[1:]


def ours(host: Host, tokens: int) -> float:
    """Tokens a second between the first and the last token, by the client's clock."""
    stream = host.stream(
        PROMPT, max_tokens=tokens, temperature=0.0, ignore_eos=True, model="bench", logprobs=0
    )
    arrivals: list[tuple[float, int]] = []
    for piece in stream.pieces():
        arrivals.append((time.perf_counter(), len(piece.logprobs or ())))
    (first, at_first), (last, _) = arrivals[0], arrivals[-1]
    return (sum(count for _, count in arrivals) - at_first) / (last - first)


def peers(bench: Path, model: Path, tokens: int, threads: int) -> float:
    """What llama-bench says of `tg`, in tokens a second."""
    command = [
        str(bench),
        "-m",
        str(model),
        "-t",
        str(threads),
        "-p",
        "0",
        "-n",
        str(tokens),
        "-r",
        "1",
        "-o",
        "json",
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(printed)[0]["avg_ts"])


def show(rows: list[tuple[float, float]], tokens: int) -> None:
    table = Table(title=f"One stream, {tokens} tokens: decode tokens/s")
    for name in ("round", "host over stdio", "llama-bench tg", "ratio"):
        table.add_column(name, justify="right")
    for number, (host, peer) in enumerate(rows, 1):
        table.add_row(str(number), f"{host:.1f}", f"{peer:.1f}", f"{host / peer:.3f}")
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    ratio = statistics.median(host / peer for host, peer in rows)
    table.add_row("median", f"{medians[0]:.1f}", f"{medians[1]:.1f}", f"{ratio:.3f}", style="bold")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
