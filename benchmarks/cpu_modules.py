"""What choosing the right CPU module is worth: the host's own choice against the plain module.

    python benchmarks/cpu_modules.py [--model 135m|0.5b|FILE] [--threads N]

Both are opened from a runtime pack, the plain one from a copy that holds no other. No goal: it is reported.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import ours, running
from harness.models import ROOT, prompt
from harness.report import Report, Row
from harness.running import Options, compared

from native_host.client import Host

PACK = ROOT / "model-bindings" / "python" / "tabagent_model" / "runtime"


def main() -> None:
    arguments = running.parser(__doc__, rounds=3).parse_args()
    running.run(arguments, lambda options: [measure(options)])


def measure(options: Options) -> Report:
    prefill, decode = (32, 64) if options.quick else (256, 32)
    entry: dict[str, ours.Key] = {"threads": options.threads, "context_length": 1024}
    who = itertools.count()

    def prefilled(host: Host) -> float:
        return prefill / ours.first_token(host, prompt(next(who), prefill))

    def decoded(host: Host) -> float:
        return ours.decode_speed(host, prompt(next(who), 8), decode)

    def on_both(what: str, speed: Callable[[Host], float]) -> Row:
        return compared(options, what, "tokens/s", lambda: speed(best), lambda: speed(plain))

    with (
        plain_pack() as pack,
        ours.spawned(options.model, entry) as best,
        ours.spawned(options.model, entry, env={"TABAGENT_RUNTIME_DIR": str(pack)}) as plain,
    ):
        rows = [on_both(f"prefill of {prefill} tokens", prefilled), on_both("decode", decoded)]
    return Report(f"CPU modules, {options.threads} threads", rows, ours=best_module(), peer="plain module")


def best_module() -> str:
    """The name of the pack's best module."""
    manifest = json.loads((PACK / "manifest.json").read_text(encoding="utf-8"))
    return str(manifest["cpu_modules"][-1]["name"])


@contextmanager
def plain_pack() -> Iterator[Path]:
    """A copy of the pack with the first module alone, which runs everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder, "runtime")
        shutil.copytree(PACK, pack)
        manifest = json.loads((pack / "manifest.json").read_text(encoding="utf-8"))
        for module in manifest["cpu_modules"][1:]:
            (pack / module["file"]).unlink()
            del manifest["files"][module["file"]]
        del manifest["cpu_modules"][1:]
        (pack / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        yield pack


if __name__ == "__main__":
    main()
