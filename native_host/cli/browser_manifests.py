"""The manifests by which browsers know the host: what stands in them, and whether one is as it must be."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import msgspec

from native_host.cli.edge import CommandFailed
from native_host.platform.browsers import HOST_NAME, Browser, Family
from native_host.transports.browser import ADDON_ID, CHROMIUM_ID, CHROMIUM_ORIGIN

PROGRAM = "native-host"


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a browser reads. The Chromium family has `allowed_origins`, Firefox `allowed_extensions`."""

    name: str
    description: str = ""
    path: str
    type: str = "stdio"
    allowed_origins: list[str] | None = None
    allowed_extensions: list[str] | None = None

    @property
    def origins(self) -> list[str]:
        """The extensions that may start the program, as the host sees them."""
        return [*(self.allowed_origins or []), *(self.allowed_extensions or [])]


class Unsound(ValueError):
    """A manifest that its browser would not take, or that leads nowhere; the text says why."""


def of(browser: Browser, ids: list[str], program: Path) -> Manifest:
    """The manifest that lets these extensions start this program."""
    origins = [f"chrome-extension://{each}/" for each in ids] if browser.family == "chromium" else None
    return Manifest(
        name=HOST_NAME,
        description="A local AI host",
        path=str(program),
        type="stdio",
        allowed_origins=origins,
        allowed_extensions=ids if browser.family == "firefox" else None,
    )


def encoded(manifest: Manifest) -> bytes:
    """A manifest as it stands in its file."""
    fields = {**msgspec.structs.asdict(manifest)}
    kept = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n"


def ids_for(family: Family, ids: list[str]) -> list[str]:
    """Those that name extensions of this family, each once. Raises CommandFailed for what names none."""
    for each in ids:
        if not (CHROMIUM_ID.fullmatch(each) or ADDON_ID.fullmatch(each)):
            raise CommandFailed(
                f"{each!r} is no extension's id: Chromium's have 32 letters from a to p (chrome://extensions "
                "shows them), Firefox's look like name@place or {a UUID}"
            )
    pattern = CHROMIUM_ID if family == "chromium" else ADDON_ID
    return list(dict.fromkeys(each for each in ids if pattern.fullmatch(each)))


def program_path(given: Path | None) -> Path:
    """The program that browsers are to start, absolute. Raises CommandFailed where there is none."""
    if given is not None:
        found = Path(os.path.abspath(given))  # noqa: PTH100 - a link is to stay one: it is what an upgrade moves
    else:
        beside = Path(sys.executable).with_name(PROGRAM)
        elsewhere = shutil.which(PROGRAM)
        found = beside if beside.is_file() or elsewhere is None else Path(elsewhere)
    if problem := _cannot_run(found):
        raise CommandFailed(f"{problem}; --program PATH names another")
    return found


def examine(file: Path, browser: Browser) -> Manifest:
    """What stands in a manifest that the browser would take. Raises Unsound, OSError."""
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unsound(f"it is no manifest: {error}") from error
    if manifest.name != HOST_NAME or file.name != f"{HOST_NAME}.json":
        raise Unsound(f"its name is {manifest.name!r}, not {HOST_NAME!r}")
    if manifest.type != "stdio":
        raise Unsound(f"its type is {manifest.type!r}, not 'stdio'")
    if problem := _cannot_run(Path(manifest.path)):
        raise Unsound(problem)
    for each in (file, Path(manifest.path)):
        if each.stat().st_mode & stat.S_IWOTH and os.name == "posix":
            raise Unsound(f"everybody may change {each}, and so what the browser starts: chmod o-w {each}")
    if browser.family == "chromium":
        wrong = [each for each in manifest.allowed_origins or [] if not CHROMIUM_ORIGIN.fullmatch(each)]
        if wrong or not manifest.allowed_origins:
            raise Unsound(f"{wrong[0]!r} is no extension's origin" if wrong else "it allows no extension")
    elif not manifest.allowed_extensions:
        raise Unsound("it allows no extension")
    return manifest


def _cannot_run(program: Path) -> str | None:
    if not program.is_absolute():
        return f"its program {program} is not an absolute path"
    if not program.is_file():
        return f"there is no program {program}"
    if not os.access(program, os.X_OK):
        return f"{program} cannot be executed"
    return None
