"""From spawn to the first token, the file in the page cache: our host over stdio and `native-host generate`,
against llama-cli.

    python benchmarks/first_token.py [--model 135m|0.5b|FILE] [--threads N]

All three write the question with the model's chat template.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ours, peers, running
from harness.report import AtMost, Report
from harness.running import Options, compared

GOAL = AtMost(1.2)
QUESTION = "What is a frame?"
TOKENS = "4"
CONTEXT = 2048


def main() -> None:
    arguments = running.parser(__doc__, rounds=7).parse_args()
    running.run(arguments, lambda options: [measure(options)])


def measure(options: Options) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "models.json"
        entry = {"type": "gguf", "path": str(options.model), "context_length": CONTEXT}
        known = {"models": {ours.NAME: {**entry, "threads": options.threads}}, "default": ours.NAME}
        registry.write_text(json.dumps(known), encoding="utf-8")
        peer = lambda: llama_cli(options)  # noqa: E731
        rows = [
            compared(options, "host over stdio", "s", lambda: over_stdio(options), peer, GOAL),
            compared(options, "native-host generate", "s", lambda: command_line(registry), peer, GOAL),
        ]
    return Report("Spawn to first token", rows, ours="ours", peer="llama-cli")


def over_stdio(options: Options) -> float:
    began = time.perf_counter()
    with ours.spawned(options.model, {"threads": options.threads, "context_length": CONTEXT}) as host:
        next(host.chat(QUESTION, model=ours.NAME, temperature=0.0).pieces())
        return time.perf_counter() - began


def command_line(registry: Path) -> float:
    command = [
        sys.executable,
        "-m",
        "native_host",
        "generate",
        "--chat",
        QUESTION,
        "-n",
        TOKENS,
        "--models",
        str(registry),
    ]
    return until_byte(command, after=b"")


def llama_cli(options: Options) -> float:
    """It repeats the question once the model is loaded: what counts is what follows."""
    command = [str(peers.tool("llama-cli")), "-m", str(options.model), "-t", str(options.threads)]
    command += ["-c", str(CONTEXT), "-p", QUESTION, "-n", TOKENS, "--single-turn", "--simple-io"]
    return until_byte(command, after=f"> {QUESTION}\n".encode())


def until_byte(command: list[str], *, after: bytes) -> float:
    """Seconds from starting a program until it prints the byte after these."""
    began = time.perf_counter()
    nothing = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, bufsize=0
    ) as program:
        assert program.stdout is not None
        printed = b""
        while after not in printed or len(printed) == printed.index(after) + len(after):
            came = program.stdout.read(4096)
            if not came:
                raise RuntimeError(f"{command[0]} printed no token")
            printed += came
        seconds = time.perf_counter() - began
        program.stdout.read()
    return seconds


if __name__ == "__main__":
    main()
