"""Decodes with llama-cpp-python, in this process, on our runtime pack. Runs in the peers' Python."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path


def load_cpu_module(runtime: Path) -> None:
    """The one that our host would choose: the pack's manifest lists them worst to best."""
    best = json.loads((runtime / "manifest.json").read_text(encoding="utf-8"))["cpu_modules"][-1]["file"]
    ggml = ctypes.CDLL(str(runtime / "libggml.so"))
    ggml.ggml_backend_load.restype = ctypes.c_void_p
    if not ggml.ggml_backend_load(str(runtime / best).encode()):
        raise SystemExit(f"{best} cannot be loaded")


def main() -> None:
    question = json.loads(sys.argv[1])
    load_cpu_module(Path(os.environ["LLAMA_CPP_LIB_PATH"]))
    import llama_cpp

    threads = question["threads"]
    llama = llama_cpp.Llama(
        question["model"], n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    came = []
    for _ in llama.generate(question["prompt"], temp=0.0):
        came.append(time.perf_counter())
        if len(came) == question["tokens"]:
            break
    print(json.dumps({"tokens_per_s": (len(came) - 1) / (came[-1] - came[0])}))


main()
