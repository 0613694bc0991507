"""Lays the browser extension out as a folder and a zip file for each family of browsers.

    python scripts/pack_extension.py [FOLDER]      (dist/ unless said otherwise)

Chromium and its kin load `extension/` as it stands, links and all. Stores take zip files, Firefox follows no
links, and Windows checks out none: they get the files that the links lead to. Firefox gets a manifest of its
own: `manifest.json` with what `firefox.json` changes in it, where null takes a member away.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "extension"
WEB = ROOT / "web"
SHARED = ("index.html", "client.js", "client", "page", "vendor")
"""What the extension shares with the gateway's page; links in `extension/`."""

OWN = (".js", ".png")
FAMILIES = ("chromium", "firefox")
_A_DAY = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "dist")
    into = parser.parse_args().folder
    for family in FAMILIES:
        folder = lay_out(family, into / f"extension-{family}")
        sys.stdout.write(f"{folder}\n{pack(folder)}\n")
    return 0


def lay_out(family: str, folder: Path) -> Path:
    """The extension for these browsers as a folder of plain files; what was there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, file in files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / path)
    text = json.dumps(manifest(family), indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return folder


def pack(folder: Path) -> Path:
    """A zip file of the folder, beside it: the same bytes for the same files."""
    file = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                entry = zipfile.ZipInfo(each.relative_to(folder).as_posix(), _A_DAY)
                archive.writestr(entry, each.read_bytes(), zipfile.ZIP_DEFLATED)
    return file


def files() -> dict[str, Path]:
    """What the extension consists of beside its manifest: paths in it, and the files themselves."""
    own = [each for each in SOURCE.rglob("*") if each.suffix in OWN and _is_own(each)]
    shared = [
        each
        for name in SHARED
        for each in ([WEB / name] if (WEB / name).is_file() else (WEB / name).rglob("*"))
        if each.is_file() and not each.name.endswith(".d.ts")
    ]
    return {
        **{each.relative_to(SOURCE).as_posix(): each for each in sorted(own)},
        **{each.relative_to(WEB).as_posix(): each for each in sorted(shared)},
    }


def manifest(family: str) -> dict[str, object]:
    """The manifest for these browsers."""
    made: dict[str, object] = json.loads((SOURCE / "manifest.json").read_text(encoding="utf-8"))
    if family == "firefox":
        made |= json.loads((SOURCE / "firefox.json").read_text(encoding="utf-8"))
    return {name: value for name, value in made.items() if value is not None}


def _is_own(file: Path) -> bool:
    return file.is_file() and file.relative_to(SOURCE).parts[0] not in SHARED


if __name__ == "__main__":
    sys.exit(main())
