"""Puts a host together and runs it: settings, logs, authentication, service, and one transport.

The service is built when the first request needs it, so that a parent gets its first `ping` answered about as
fast as Python starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from native_host.guard.admission import Admission
from native_host.guard.grants import Grants
from native_host.guard.keys import KeyFileError
from native_host.guard.limits import UsageLimits
from native_host.guard.secrets import SecretError, read_policy
from native_host.platform import paths
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import Params
from native_host.settings import Settings, SettingsError
from native_host.telemetry import logs
from native_host.telemetry.metrics import Counters
from native_host.transports import browser, daemon, idle, stdio
from native_host.transports.daemon import CannotServeError
from native_host.transports.host import Host

if TYPE_CHECKING:
    from native_host.guard.content import ContentRules
    from native_host.http_address import HttpAddress
    from native_host.models.registry import RegistryError
    from native_host.service import Service
    from native_host.service.context import RequestContext
    from native_host.transports.daemon import Listening

StartError = (SettingsError, SecretError, KeyFileError, CannotServeError, paths.NoHomeError, OSError)
"""What can be wrong before the first frame; each text is one line for the user."""

GATEWAY_PACKAGES = (
    "fastapi",
    "httptools",
    "limits",
    "markdown_it",
    "nh3",
    "starlette",
    "uvicorn",
    "websockets",
)
"""What the extra `gateway` brings."""


def run_stdio(descriptors: tuple[int, int], arguments: Sequence[str] = ()) -> int:
    """Be a child process that speaks frames on `descriptors`; the exit code."""
    parent = browser.from_arguments(arguments)
    if parent is None and list(arguments) not in ([], ["stdio"]):  # no browser is taken for a parent
        os.write(2, b"native-host: these look like a browser's arguments, and are not\n")
        return 2
    if os.isatty(descriptors[0]):
        os.write(
            2, b"native-host: speaking frames on this terminal; for people there is `native-host chat`\n"
        )
    try:
        host, service = _assemble(Settings.from_env(), logs_to_file=parent is not None)
    except StartError as error:
        return _refuse(error)
    return _run(stdio.serve(host, descriptors, service.stop, parent))


def run_daemon(
    socket: Path | None = None,
    on_listening: Callable[[Listening], None] | None = None,
    **overrides: object,
) -> int:
    """Be a daemon until a signal ends it; the exit code.

    It listens at `socket`, and by HTTP where the settings say so; without either at the user's own place for
    a socket. `overrides` are members of Settings that beat the environment's, unless they are `None`.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = msgspec.structs.replace(Settings.from_env(), **given)
        host, service = _assemble(settings, logs_to_file=settings.idle_exit_s is not None)
        host.outlives_connections = True
        servers = _servers(host, socket, settings.http)
        serving = daemon.serve(servers, service.stop, on_listening, _until_idle(host, servers))
        return _run(_serve(serving, host, service))
    except StartError as error:
        return _refuse(error)


def _until_idle(host: Host, servers: Sequence[daemon.Server]) -> Callable[[], Awaitable[None]] | None:
    seconds = host.settings.idle_exit_s
    return None if seconds is None else lambda: idle.until_idle(host, servers, seconds)


def _servers(host: Host, socket: Path | None, http: HttpAddress | None) -> list[daemon.Server]:
    servers: list[daemon.Server] = []
    if socket is not None or http is None:
        from native_host.transports.unix_socket import SocketServer

        servers.append(SocketServer(host, socket or paths.default_socket()))
    if http is not None:
        servers.append(_http_server(host, http))
    return servers


def _http_server(host: Host, address: HttpAddress) -> daemon.Server:
    try:
        from native_host.transports.gateway.server import HttpServer
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in GATEWAY_PACKAGES:
            raise
        problem = f"HTTP needs {error.name}: pip install 'native-host[gateway]'"
        raise CannotServeError(problem) from error
    return HttpServer(host, address)


async def _serve(serving: Coroutine[Any, Any, None], host: Host, service: DeferredService) -> None:
    """Serve, and load the pinned models meanwhile: requests need not wait for them."""

    async def load() -> None:
        await service.load_pinned()
        host.loading = False

    host.loading = True
    loading = asyncio.get_running_loop().create_task(load())
    try:
        await serving
    finally:
        loading.cancel()


class DeferredService:
    """The service, built at the first request for it."""

    def __init__(self, settings: Settings, counters: Counters, limits: UsageLimits) -> None:
        self._settings = settings
        self._counters = counters
        self._limits = limits
        self._service: Service | None = None
        self._unbuilt: RegistryError | None = None

    async def handle(self, method: str, params: Params, context: RequestContext) -> object:
        """Answer one request."""
        return await self._built().handle(method, params, context)

    def problems(self, name_files: bool) -> list[str]:
        """What is wrong with it. Nothing is known of one that nobody has asked for."""
        if self._unbuilt is not None:
            with contextlib.suppress(RpcError):
                self._built()  # what kept it from being built may have been put right
        if self._service is not None:
            return self._service.problems(name_files)
        problem = self._unbuilt
        return [] if problem is None else [str(problem) if name_files else problem.without_folder()]

    async def load_pinned(self) -> None:
        """Load the models that a daemon is to have from the start; a failure is logged, since nobody waits
        for them.
        """
        try:
            service = self._built()
        except RpcError as error:
            logs.Log("models").warning("registry.unsound", problem=error.message)
            return
        await service.load_pinned()

    @property
    def working(self) -> bool:
        """Whether it is busy with something that is no request."""
        return self._service is not None and self._service.working

    async def stop(self) -> None:
        """End all workers."""
        if self._service is not None:
            await self._service.stop()

    def _built(self) -> Service:
        if self._service is None:
            from native_host.models.registry import RegistryError

            try:
                self._service = _build_service(self._settings, self._counters, self._limits)
                self._unbuilt = None
            except RegistryError as error:
                self._unbuilt = error
                line = f"line {error.line}: " if error.line is not None else ""
                raise errors.invalid_model_file(str(error.file), line + error.problem) from error
        return self._service


def _build_service(settings: Settings, counters: Counters, usage: UsageLimits) -> Service:
    from native_host.models.foreseeing import Foreseer
    from native_host.models.manager import Limits, ModelManager
    from native_host.models.registry import find_file
    from native_host.models.registry_file import RegistryFile
    from native_host.service import Service
    from native_host.service.prompts import BUILT_IN, Prompts

    config_dir = paths.config_dir()
    registry = RegistryFile(
        lambda: find_file(settings.models_file, config_dir),
        settings.default_model,
        config_dir / "models.json",
    )
    limits = Limits(
        memory_budget=settings.memory_budget,
        keep_alive_s=settings.keep_alive_s,
        load_timeout_s=settings.load_timeout_s,
    )
    manager = ModelManager(registry, limits=limits, predict=Foreseer().predict)
    own_prompts = settings.prompts_folder or config_dir / "prompts"
    prompts = Prompts(manager, (own_prompts, BUILT_IN))
    return Service(manager, counters=counters, prompts=prompts, hold=usage.running)


def _assemble(settings: Settings, logs_to_file: bool = False) -> tuple[Host, DeferredService]:
    logs.configure(settings.log_level, settings.log_format, settings.log_file)
    if logs_to_file and settings.log_file is None:
        _log_to_the_users_folder(settings)
    counters = Counters()
    limits = UsageLimits(settings.rate_limit, settings.address_rate_limit)
    service = DeferredService(settings, counters, limits)
    admission = Admission(
        service,
        limits,
        max_prompt=settings.max_prompt,
        max_tokens=settings.max_tokens,
        rules=_content_rules(settings),
    )
    policy = read_policy(
        settings.api_keys_file,
        own_keys_file=paths.keys_file() if settings.http else None,
        grants=Grants(_grants_file()),
    )
    host = Host(
        admission, settings, policy, service.problems, limits, counters, working=lambda: service.working
    )
    return host, service


def _grants_file() -> Path | None:
    try:
        return paths.grants_file()
    except paths.NoHomeError:  # then nothing is granted, and a parent that is no browser does not care
        return None


def _content_rules(settings: Settings) -> ContentRules | None:
    """The rules in force: those of the file that is named, else the built-in ones if they are switched on."""
    if settings.moderation is False or (settings.moderation is None and settings.content_rules is None):
        return None
    from native_host.guard.content import BUILT_IN, ContentRules, RulesError

    try:
        return ContentRules.load(settings.content_rules or BUILT_IN)
    except RulesError as error:
        raise SettingsError(str(error)) from error


def _log_to_the_users_folder(settings: Settings) -> None:
    """Under a browser nobody reads stderr. A home that cannot be written to costs the log, not the host."""
    try:
        logs.configure(settings.log_level, settings.log_format, paths.log_dir() / "native-host.log")
    except (OSError, paths.NoHomeError) as error:
        logs.Log("transports").failure("log.file_unusable", error)


def _run(main: Coroutine[Any, Any, None]) -> int:
    asyncio.run(main)
    return 0


def _refuse(error: Exception) -> int:
    os.write(2, f"native-host: {error}\n".encode(errors="backslashreplace"))
    return 1
