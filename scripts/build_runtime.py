#!/usr/bin/env python3
"""Builds the runtime pack: libllama, ggml, CPU modules and our shim, with a manifest of their hashes.

    python scripts/build_runtime.py --native    # the CPU module for this machine and the plain one
    python scripts/build_runtime.py --all       # every CPU module: what a release ships
    python scripts/build_runtime.py --native --cuda 86      # with a module for NVIDIA's GPUs (docs/gpus.md)
    python scripts/build_runtime.py --tools     # llama.cpp's programs, peers for benchmarks; prints where
    python scripts/build_runtime.py --source    # its sources, unpacked; prints where

Needs a C++ compiler, and cmake and ninja (PyPI's do). The sources come from a pinned source package, by pip
and by hash. Everything is kept in the cache folder ($TABAGENT_CACHE_DIR, else the system's), so that a
second run only looks.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from runtime_build import cache, compiling, cuda, modules, pack, source, tools
from runtime_build.failure import BuildFailure
from runtime_build.inputs import BuildInputs
from runtime_build.toolchain import Toolchain

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_RUNTIME = ROOT / "model-bindings" / "python" / "tabagent_model" / "runtime"


def main() -> int:
    arguments = parse_arguments()
    try:
        if arguments.tools:
            print(tools.build(ROOT, arguments.jobs))
        elif arguments.source:
            print(source.fetch())
        else:
            build_pack(arguments)
    except BuildFailure as failure:
        print(f"build_runtime: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbuild_runtime: stopped; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--native", action="store_true", help="the CPU module for this machine and the plain one"
    )
    what.add_argument("--all", action="store_true", help="every CPU module of this platform")
    what.add_argument(
        "--tools", action="store_true", help="llama-bench, llama-batched-bench, llama-server, llama-cli"
    )
    what.add_argument("--source", action="store_true", help="llama.cpp's sources; prints where they are")
    parser.add_argument(
        "--cuda",
        nargs="?",
        const="",
        metavar="ARCHITECTURES",
        help="with --native or --all: a module for NVIDIA's GPUs too, of these architectures (86, or "
        "89-real,90-virtual; default: those that ggml chooses)",
    )
    parser.add_argument(
        "--jobs", type=int, default=None, help="compilers at once (default: by cores and memory)"
    )
    parser.add_argument("--into", type=Path, default=PACKAGE_RUNTIME, help="the folder to put the pack in")
    arguments = parser.parse_args()
    if arguments.cuda is not None and not (arguments.native or arguments.all):
        parser.error("--cuda goes with --native or --all")
    return arguments


def build_pack(arguments: argparse.Namespace) -> None:
    """Leaves the folder with a pack that is right for the inputs of now, however much there is to do for
    that."""
    toolchain = Toolchain.find()
    known = modules.find(ROOT)
    gpu = None if arguments.cuda is None else cuda.find(arguments.cuda)
    every = BuildInputs(ROOT, toolchain, known, known.every, gpu)
    wanted = every if arguments.all else replace(every, names=known.native)
    into: Path = arguments.into
    # A pack of all modules serves this machine too: a later --native does not take it away.
    if pack.is_right(into, {wanted.build_id, every.build_id}):
        return
    with cache.lock("runtime", wait="another build is running; waiting for it"):
        kept = cache.directory("runtime") / wanted.build_id
        if not pack.is_right(kept, {wanted.build_id}):
            started = time.monotonic()
            sources = source.fetch()
            built = compiling.build(wanted, sources, arguments.jobs)
            gpu_module = None if gpu is None else cuda.build(gpu, arguments.jobs)
            pack.assemble(built, wanted, kept, gpu_module)
            print(
                f"runtime pack {wanted.build_id} built in {time.monotonic() - started:.0f} s", file=sys.stderr
            )
        pack.install(kept, into)


if __name__ == "__main__":
    sys.exit(main())
