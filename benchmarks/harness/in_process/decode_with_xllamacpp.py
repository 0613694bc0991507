"""Decodes with xllamacpp, in this process, on the llama.cpp that it brings. Runs in the peers' Python."""

from __future__ import annotations

import json
import sys
import time

import xllamacpp


def main() -> None:
    question = json.loads(sys.argv[1])
    params = xllamacpp.CommonParams()
    params.model.path = question["model"]
    params.n_ctx = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = question["threads"]
    params.cpuparams_batch.n_threads = question["threads"]
    server = xllamacpp.Server(params)
    came: list[float] = []

    def hear(event: object) -> bool:
        came.append(time.perf_counter())
        return False

    asked = {"max_tokens": question["tokens"], "temperature": 0.0, "ignore_eos": True, "stream": True}
    server.handle_completions({"prompt": question["prompt"], **asked}, hear)
    came.pop()  # the last event holds the usage and no token
    print(json.dumps({"tokens_per_s": (len(came) - 1) / (came[-1] - came[0])}))


main()
