"""A `llama-server` of a TabAgent tree as this worker's child: which one, how it is started, and its end.

It listens on a Unix socket in a folder that is this user's alone, or (builds that know no such sockets) on a
port of the loopback interface; either way it asks for a key that only this worker has.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from pathlib import Path

import httpx2
import tabagent_model

from native_host.protocol import errors
from native_host.workers.messages import LoadOptions

_POLL_S = 0.05
_HELP_S = 20.0
_KEPT_FROM_IT = ("NATIVE_HOST_", "LLAMA_", "HF_", "OLLAMA_", "TABAGENT_")
"""Variables that are not for it: our secrets, and settings that would overrule our arguments."""
_PR_SET_PDEATHSIG = 1


def find_server(model: str, bitnet: bool) -> Path:
    """The best `llama-server` that this machine can run and that runs such a model: BitNet builds run BitNet
    models and nothing else does. Raises model_load_failed, with all that was tried.
    """
    tried = tabagent_model.explain_binary("llama-server")
    for candidate in tried:
        path = Path(candidate["path"])
        is_tree = any(part.lower() == "bitnet" for part in path.parts)
        fits = not is_tree or path.parent.name.lower().startswith("bitnet") == bitnet
        if candidate["outcome"] in ("chosen", "passed") and fits:
            return path
    kind = "BitNet models" if bitnet else "models other than BitNet's"
    places = "".join(f"\n  {candidate['path']}: {candidate['reason']}" for candidate in tried)
    raise errors.model_load_failed(
        model, f"no llama-server for {kind} was found; TABAGENT_ROOT names a tree that has one{places}"
    )


class ServerProcess:
    """A running `llama-server`, and the client that reaches it."""

    def __init__(
        self, process: Process, client: httpx2.AsyncClient, folder: tempfile.TemporaryDirectory[str]
    ) -> None:
        self._process = process
        self.client = client
        self._folder = folder

    @classmethod
    async def start(cls, binary: Path, arguments: list[str]) -> ServerProcess:
        """Start it; it loads its model then. Must be called in a thread that lives as long as this process:
        the child dies with it. Raises OSError."""
        folder = tempfile.TemporaryDirectory(prefix="llama-server-")
        place, transport, url = _place(binary, folder.name)
        key = secrets.token_hex(32)
        process = await asyncio.create_subprocess_exec(
            binary,
            *arguments,
            *place,
            stdin=DEVNULL,
            env=_environment(binary, key),
            cwd=binary.parent,
            preexec_fn=_dies_with_parent(),
        )
        headers = {"Authorization": f"Bearer {key}"}
        # How long it may compute before its first word is not ours to know; whether it lives, we see.
        timeout = httpx2.Timeout(5.0, read=None, pool=None)
        client = httpx2.AsyncClient(
            transport=transport, base_url=url, headers=headers, timeout=timeout, trust_env=False
        )
        return cls(process, client, folder)

    async def ready(self, model: str, on_resident: Callable[[int], None]) -> None:
        """Wait until its model is loaded; `on_resident` is told the bytes that it holds meanwhile.

        Raises model_load_failed when it ends instead.
        """
        import psutil

        while self._process.returncode is None:
            with contextlib.suppress(httpx2.TransportError):  # it does not listen yet
                if (await self.client.get("/health")).status_code == httpx2.codes.OK:
                    return
            with contextlib.suppress(psutil.Error):
                on_resident(psutil.Process(self._process.pid).memory_info().rss)
            await asyncio.sleep(_POLL_S)
        how = f"its llama-server ended with code {self._process.returncode}; the log has its words"
        raise errors.model_load_failed(model, how)

    async def ended(self) -> int:
        """Wait for its end; answers its exit code."""
        return await self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def stop(self) -> None:
        """End it at once: it has nothing to save."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._folder.cleanup()


def arguments(model: str, options: LoadOptions, context_length: int, parallel: int, help_: str) -> list[str]:
    """The command line for a model, but where to listen; `help_` is what this build says of its own."""
    line = ["--model", model, "--ctx-size", str(context_length * parallel), "--parallel", str(parallel)]
    if options.threads is not None:
        line += ["--threads", str(options.threads)]
    if options.gpu_layers:
        line += ["--n-gpu-layers", "999" if options.gpu_layers < 0 else str(options.gpu_layers)]
    if options.mlock:
        line.append("--mlock")
    if options.kv_type is not None:
        line += ["--cache-type-k", options.kv_type, "--cache-type-v", options.kv_type]
    if options.flash_attention != "auto":
        takes_value = re.search(r"--flash-attn +\[", help_) is not None
        if takes_value:
            line += ["--flash-attn", options.flash_attention]
        elif options.flash_attention == "on":
            line.append("--flash-attn")
    return line


def help_of(binary: Path) -> str:
    """What a build says of its options."""
    said = subprocess.run(
        [binary, "--help"], capture_output=True, timeout=_HELP_S, check=False, env=_environment(binary, "")
    )
    return (said.stdout + said.stderr).decode(errors="replace")


def _place(binary: Path, folder: str) -> tuple[list[str], httpx2.AsyncHTTPTransport, str]:
    """Where it is to listen: the arguments, and how it is reached."""
    if ".sock" in help_of(binary):
        path = f"{folder}/llama.sock"
        return ["--host", path], httpx2.AsyncHTTPTransport(uds=path), "http://llama-server"
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    host = ["--host", "127.0.0.1", "--port", str(port)]
    return host, httpx2.AsyncHTTPTransport(), f"http://127.0.0.1:{port}"


def _environment(binary: Path, key: str) -> dict[str, str]:
    """Ours, less what is not for it; the key is no argument, since everyone may read those. Its libraries lie
    beside it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_FROM_IT)}
    libraries = environment.get("LD_LIBRARY_PATH", "")
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(binary.parent), libraries]))
    environment["LLAMA_API_KEY"] = key
    environment["LLAMA_ARG_LOG_VERBOSITY"] = "2"  # warnings: it tells of every request otherwise
    # Prompts of one caller must not be found in what another left behind.
    environment["LLAMA_ARG_CACHE_RAM"] = "0"
    return environment


def _dies_with_parent() -> Callable[[], None] | None:
    """What a child does before it becomes the server, so that it never outlives this worker, however that
    ends. Linux has a call for it; elsewhere `stop` must do."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # before the fork: nothing may be loaded after it
    parent = os.getpid()

    def before() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died meanwhile
            os._exit(1)

    return before
