"""`native-host install` and `uninstall`: make the host known to browsers, or no longer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.table import Table

from native_host.cli import browser_manifests as manifests
from native_host.cli.edge import CommandFailed
from native_host.cli.options import Json, Models
from native_host.cli.output import out, print_json, shown_path
from native_host.platform.browsers import (
    BROWSERS,
    HOST_NAME,
    Browser,
    Family,
    in_use,
    manifest_folder,
    register,
    unregister,
)
from native_host.platform.whole_files import write_whole

NAMES = ", ".join(BROWSERS)
FAMILIES: tuple[Family, ...] = ("chromium", "firefox")

Which = Annotated[
    list[str] | None,
    typer.Option("--browser", help=f"Of {NAMES}; may be repeated. Otherwise: all that this user has."),
]
System = Annotated[bool, typer.Option("--system", help="For all users of this machine.")]
Folder = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="The folder of manifests, where a browser looks elsewhere."),
]


class Done(msgspec.Struct, frozen=True):
    """What became of one browser's manifest."""

    browser: str
    what: Literal["installed", "updated", "unchanged", "removed", "absent"]
    file: str


def install(
    extension_id: Annotated[
        list[str],
        typer.Option("--extension-id", metavar="ID", help="An extension that may start it; may be repeated."),
    ],
    browser: Which = None,
    directory: Folder = None,
    system: System = False,
    program: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="What browsers start; otherwise this installation's native-host."),
    ] = None,
    json: Json = False,
    models: Models = None,
) -> None:
    """Make the host known to browsers, so that the extensions named may start it.

    The manifests allow the extensions named here and no others: name all of them each time.
    """
    if models is not None:
        raise CommandFailed(
            "browsers start the host without arguments: models.json goes into the user's folder"
        )
    path = manifests.program_path(program)
    named = {family: manifests.ids_for(family, extension_id) for family in FAMILIES}
    done = []
    for each, folder in _chosen(browser, directory, system):
        if ids := named[each.family]:
            done.append(_install(each, folder, manifests.encoded(manifests.of(each, ids, path)), system))
        elif browser:
            raise CommandFailed(f"none of these ids is one of an extension of {each.name}")
    if not done:
        raise CommandFailed("none of these ids is one of an extension of a browser that was found")
    _show(done, json)


def uninstall(
    browser: Which = None,
    directory: Folder = None,
    system: System = False,
    json: Json = False,
    models: Models = None,
) -> None:
    """Take the host away from browsers. What is not there is no error."""
    del models  # every command takes it
    _show([_uninstall(each, folder, system) for each, folder in _chosen(browser, directory, system)], json)


def _chosen(names: list[str] | None, directory: Path | None, system: bool) -> list[tuple[Browser, Path]]:
    """Browsers with the folders of their manifests. Raises CommandFailed."""
    for name in names or []:
        if name not in BROWSERS:
            raise CommandFailed(f"{name!r} is no browser that is known here; there are {NAMES}")
    if directory is not None and len(names or []) != 1:
        raise CommandFailed("--dir is one browser's folder: name the browser, by --browser")
    chosen = [BROWSERS[name] for name in dict.fromkeys(names)] if names else in_use()
    if not chosen:
        raise CommandFailed(f"no browser of this user was found; --browser names one of {NAMES}")
    if directory is not None:
        return [(chosen[0], directory.absolute())]
    return [(each, _folder(each, system)) for each in chosen if names or manifest_folder(each, system=system)]


def _folder(browser: Browser, system: bool) -> Path:
    folder = manifest_folder(browser, system=system)
    if folder is None:
        raise CommandFailed(f"{browser.name} has no folder for all users; install it without --system")
    return folder


def _install(browser: Browser, folder: Path, content: bytes, system: bool) -> Done:
    file = folder / f"{HOST_NAME}.json"
    before = file.read_bytes() if file.is_file() else None
    if before != content:
        write_whole(file, content)
        file.chmod(0o644)
    register(browser, file, system=system)
    what: Literal["installed", "updated", "unchanged"] = "installed" if before is None else "updated"
    return Done(browser.name, "unchanged" if before == content else what, str(file))


def _uninstall(browser: Browser, folder: Path, system: bool) -> Done:
    file = folder / f"{HOST_NAME}.json"
    there = file.is_file()
    unregister(browser, system=system)
    file.unlink(missing_ok=True)
    return Done(browser.name, "removed" if there else "absent", str(file))


def _show(done: list[Done], json: bool) -> None:
    if json:
        print_json(done)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for each in done:
        table.add_row(each.browser, each.what, shown_path(each.file) if sys.stdout.isatty() else each.file)
    out().print(table)
