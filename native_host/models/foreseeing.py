"""Foresees what a model's worker will hold, and remembers it: planning a GGUF model takes a process and
longer than a small model's load.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import json
from pathlib import Path

import msgspec

from native_host.models.backends import backend_of
from native_host.models.estimate import estimate
from native_host.models.load_options import load_request
from native_host.models.memory import predict_by_size
from native_host.models.spec import ModelSpec
from native_host.platform.paths import NoHomeError, cache_dir
from native_host.platform.whole_files import write_whole
from native_host.protocol.errors import RpcError
from native_host.workers.messages import LoadOptions, LoadRequest

MOST_KEPT = 500
"""Estimates kept on the disk; the oldest go first. Each is a hundred bytes."""


class Foreseer:
    """Foresees models, each once for each way of loading it. What is kept on the disk holds as long as the
    model's file and the installed engine stay the same.
    """

    def __init__(self, kept: Path | None = None) -> None:
        """`kept` is the file for what is foreseen; by default it is in the user's cache folder."""
        self._file = kept
        self._planning = asyncio.Lock()

    async def predict(self, spec: ModelSpec, options: LoadOptions) -> int:
        """Bytes that a model's worker will hold at most, at any time. A GGUF model that cannot be planned is
        taken by its size: its load is what says why. Raises unsupported for a format without a backend or
        for what this machine lacks, and invalid_params for options that the engine refuses.
        """
        if spec.format != "gguf":
            return await predict_by_size(spec, options)
        try:
            return await self._planned(spec, options)
        except RpcError as error:
            refused = error.kind in ("invalid_params", "unsupported")
            if refused and backend_of(spec).name == "gguf":  # others have other bounds
                raise
            return await predict_by_size(spec, options)

    async def _planned(self, spec: ModelSpec, options: LoadOptions) -> int:
        request = load_request(spec, options)
        async with self._planning:  # one process at a time: they take memory too
            key = await asyncio.to_thread(_key, request)
            found = (await asyncio.to_thread(self._read)).get(key)
            if found is None:
                found = (await estimate(spec, options)).peak_bytes
                await asyncio.to_thread(self._keep, key, found)
            return found

    def _read(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._path().read_bytes(), type=dict[str, int])
        except (OSError, NoHomeError, msgspec.DecodeError):  # none yet, or none that can be read
            return {}

    def _keep(self, key: str, found: int) -> None:
        kept = [*self._read().items(), (key, found)][-MOST_KEPT:]
        with contextlib.suppress(
            OSError, NoHomeError
        ):  # without a place for it, it is planned anew next time
            write_whole(self._path(), msgspec.json.encode(dict(kept)))

    def _path(self) -> Path:
        return self._file if self._file is not None else cache_dir() / "memory-estimates.json"


def _key(request: LoadRequest) -> str:
    """Differs for whatever could make a model take another amount of memory."""
    document = [msgspec.to_builtins(request), _stamp(Path(request.path)), *map(_stamp, _engine())]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:32]


def _engine() -> list[Path]:
    """The files that stand for the native module and its runtime pack; it is not imported."""
    found = importlib.util.find_spec("tabagent_model")
    folders = [Path(each) for each in found.submodule_search_locations or ()] if found is not None else []
    return [
        file for folder in folders for file in (*folder.glob("_native*"), folder / "runtime/manifest.json")
    ]


def _stamp(file: Path) -> list[str | int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return [str(file), status.st_mtime_ns, status.st_size, status.st_ino]
