"""`native-host doctor`: looks at everything that has to be right, and says the way out where it is not."""

from __future__ import annotations

import hashlib
import importlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import typer
from rich.text import Text

from native_host.cli import browser_manifests, machine, scopes
from native_host.cli.opening import CLI_NAME, opened
from native_host.cli.options import Json, Models
from native_host.cli.output import out, print_json, size
from native_host.client import ClientError, HandshakeError, Host, HostTimeout, RpcError
from native_host.guard.grants import GrantFileError, Grants, read_manifest, way_out
from native_host.models.registry import BUILTIN_FILE, BUILTIN_NAME
from native_host.platform.browsers import Browser, manifest_files
from native_host.platform.paths import default_socket, grants_file, log_dir
from native_host.settings import Settings, SettingsError
from native_host.transports.relay.sharing import DAEMON_VARIABLE, SharingFileError, read_sharing

MIN_PYTHON = (3, 10)
SECRET_MODE = 0o077
BUILTIN_WAY_OUT = "install native-host again; in a checkout, git restore the file"

MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "note": ("·", "dim")}


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one check found. `way_out` says what to do about a failure."""

    check: str
    state: Literal["ok", "failed", "note"]
    detail: str
    way_out: str | None = None


def doctor(json: Json = False, models: Models = None) -> None:
    """Check this installation from Python to the first token. Exit code 1 if something is wrong."""
    findings = []
    for finding in examine(models):
        findings.append(finding)
        if not json:
            _show(finding)
    if json:
        print_json(findings)
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


def examine(models: Path | None) -> Iterator[Finding]:
    """All checks, one after the other, as they are done."""
    for check in (_python, _settings, _extension, _builtin_model, _socket_folder, _daemon, _sharing, _log):
        yield check()
    yield from _browsers()
    yield from _host(models)


def _show(finding: Finding) -> None:
    mark, style = MARKS[finding.state]
    out().print(Text.assemble((mark, style), f" {finding.check:<16} {finding.detail}"), soft_wrap=True)
    if finding.way_out is not None:
        out().print(Text(f"  {'':<16} → {finding.way_out}", style="yellow"), soft_wrap=True)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < MIN_PYTHON:
        return Finding("Python", "failed", version, "install Python 3.10 or newer")
    return Finding("Python", "ok", f"{version} ({sys.executable})")


def _settings() -> Finding:
    try:
        Settings.from_env()
    except SettingsError as error:
        return Finding("settings", "failed", str(error), "correct that variable, or unset it")
    return Finding("settings", "ok", "the environment's are sound; `native-host config` shows them")


def _extension() -> Finding:
    try:
        module = importlib.import_module("tabagent_model")
    except ImportError as error:
        way_out = "pip install tabagent_model; in a checkout, ./scripts/demo builds it"
        return Finding("tabagent_model", "failed", f"cannot be imported: {error}", way_out)
    return Finding(
        "tabagent_model", "ok", f"{getattr(module, '__version__', '')} ({module.__file__})".lstrip()
    )


def _builtin_model() -> Finding:
    if not BUILTIN_FILE.is_file():
        return Finding("built-in model", "failed", f"{BUILTIN_FILE} is missing", BUILTIN_WAY_OUT)
    expected = BUILTIN_FILE.with_name("SHA256").read_text().split()[0]
    if hashlib.sha256(BUILTIN_FILE.read_bytes()).hexdigest() != expected:
        return Finding("built-in model", "failed", f"{BUILTIN_FILE} is not what was shipped", BUILTIN_WAY_OUT)
    return Finding(
        "built-in model", "ok", f"{BUILTIN_NAME}, {size(BUILTIN_FILE.stat().st_size)}, sha256 as shipped"
    )


def _socket_folder() -> Finding:
    folder = default_socket().parent
    if not folder.exists():
        return Finding("socket folder", "note", f"{folder} is not there yet; `native-host serve` makes it")
    found = folder.stat()
    if found.st_uid != os.getuid():
        return Finding("socket folder", "failed", f"{folder} belongs to somebody else", "set XDG_RUNTIME_DIR")
    if stat.S_IMODE(found.st_mode) & SECRET_MODE:
        return Finding("socket folder", "failed", f"others may look into {folder}", f"chmod 700 {folder}")
    return Finding("socket folder", "ok", str(folder))


def _daemon() -> Finding:
    socket = default_socket()
    if socket.exists() and not socket.is_socket():
        return Finding("daemon", "failed", f"{socket} is no socket", f"rm {socket}: a daemon needs the place")
    if not socket.is_socket():
        return Finding("daemon", "note", "none is running; `native-host serve` starts one")
    started = time.perf_counter()
    try:
        with Host.connect(socket, name=CLI_NAME, timeout=5.0) as host:
            took = (time.perf_counter() - started) * 1000
            return Finding(
                "daemon", "ok", f"process {host.info.server.pid} at {socket} answers in {took:.0f} ms"
            )
    except RpcError as error:
        return Finding("daemon", "note", f"at {socket}: {error}")
    except (HandshakeError, HostTimeout) as error:
        way_out = f"end the program that listens there (fuser {socket} names it), then `native-host serve`"
        return Finding("daemon", "failed", f"no daemon of ours answers at {socket}: {error}", way_out)
    except ClientError as error:
        way_out = "`native-host serve` puts a new one in its place"
        return Finding("daemon", "failed", f"nobody answers at {socket}: {error}", way_out)


def _log() -> Finding:
    file = os.environ.get("NATIVE_HOST_LOG_FILE") or str(log_dir() / "native-host.log")
    return Finding("log", "note", f"stderr; {file} where a browser is the parent")


def _browsers() -> Iterator[Finding]:
    """Each manifest that `native-host install` wrote, or somebody else."""
    there = [
        (browser, file)
        for system in (False, True)
        for browser, file in manifest_files(system=system)
        if file.is_file()
    ]
    if not there:
        yield Finding("browsers", "note", "no browser knows the host; `native-host install` tells them")
    for browser, file in there:
        yield _manifest(browser, file)
    yield from _grants(list(dict.fromkeys(origin for _, file in there for origin in _origins(file))))


def _origins(file: Path) -> list[str]:
    try:
        return read_manifest(file)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return []  # what is wrong with it has been told


def _grants(installed: list[str]) -> Iterator[Finding]:
    """What the extensions may do that browsers let start the host."""
    held = Grants(grants_file())
    try:
        held.stored()
    except GrantFileError as error:
        yield Finding("grants", "failed", str(error), "correct that file, or remove it and install again")
        return
    for origin in installed:
        grant = held.find(origin)
        if grant is None or not grant.scopes:
            yield Finding("grants", "note", f"{origin} may do nothing", f"{way_out(origin)} lets it")
        else:
            yield Finding("grants", "ok", f"{origin} may: {scopes.shown(grant.scopes)}")


def _sharing() -> Finding:
    try:
        sharing = read_sharing()
    except SharingFileError as error:
        way_out = "`native-host install --daemon` or `--no-daemon` writes it anew"
        return Finding("sharing", "failed", str(error), way_out)
    said = {
        "join": "hosts that browsers start join the daemon where one runs",
        "start": f"hosts that browsers start share a daemon, which ends when idle for {sharing.idle_exit}",
        "never": "hosts that browsers start use no daemon",
    }
    return Finding("sharing", "note", said[sharing.daemon])


def _starts_daemon() -> bool:
    try:
        return read_sharing().daemon == "start"
    except SharingFileError:
        return False  # which has been told


def _manifest(browser: Browser, file: Path) -> Finding:
    again = f"`native-host install --browser {browser.name}` with your extensions' ids writes it anew"
    try:
        manifest = browser_manifests.examine(file, browser)
    except (browser_manifests.Unsound, OSError) as error:
        return Finding(browser.name, "failed", f"{file}: {error}", again)
    allowed = manifest.origins
    arguments = [allowed[0]] if browser.family == "chromium" else [str(file), allowed[0]]
    started = time.perf_counter()
    try:
        # It may join a daemon, but none is to be left behind.
        env = {DAEMON_VARIABLE: "join"} if _starts_daemon() else None
        with Host.spawn([manifest.path, *arguments], env=env, name=CLI_NAME, timeout=20.0) as host:
            host.ping()
            took = (time.perf_counter() - started) * 1000
    except (ClientError, RpcError, OSError) as error:
        detail = f"{manifest.path}, started as the browser would: {error}"
        first = "put right what is wrong above, if anything is; if it is not this installation's program, "
        return Finding(browser.name, "failed", detail, first + again)
    return Finding(
        browser.name, "ok", f"{len(allowed)} extension(s) may start {manifest.path}: answers in {took:.0f} ms"
    )


def _host(models: Path | None) -> Iterator[Finding]:
    started = time.perf_counter()
    try:
        with opened(models, None) as host:
            took = (time.perf_counter() - started) * 1000
            yield Finding("host", "ok", f"a child host answers after {took:.0f} ms")
            for check in (_runtime, _gpu_backends, _first_token):
                yield _unless_refused(check, host)
    except (ClientError, OSError) as error:
        yield Finding("host", "failed", str(error), "what it wrote last says why")


def _unless_refused(check: Callable[[Host], Finding], host: Host) -> Finding:
    try:
        return check(host)
    except RpcError as error:
        name = check.__name__.strip("_").replace("_", " ")
        absent = error.kind == "model_absent"
        pulled = f"{error.data['command']}, or put the file there" if absent else None
        way_out = pulled or "LOG_LEVEL=debug native-host doctor shows more"
        return Finding(name, "failed", str(error), way_out)


def _runtime(host: Host) -> Finding:
    info = host.hardware()
    lines = dict(machine.runtime_lines(info))
    if info.runtime.get("path") is None:
        way_out = "install tabagent_model's wheel; in a checkout, scripts/build_runtime.py --native"
        return Finding("runtime", "failed", lines["runtime"], way_out)
    return Finding("runtime", "ok", f"{info.cpu_variant}: {lines['chosen because']} ({lines['runtime']})")


def _gpu_backends(host: Host) -> Finding:
    lines = dict(machine.runtime_lines(host.hardware()))
    return Finding("GPU backends", "ok", lines.get("GPU backends", "none: there is no runtime pack"))


def _first_token(host: Host) -> Finding:
    result = host.generate("Hello", max_tokens=1, temperature=0.0, timeout=120.0)
    first = result.timings.first_token_ms
    detail = f"{result.model} loads and generates" + (f"; first token after {first:.0f} ms" if first else "")
    return Finding("first token", "ok", detail)
