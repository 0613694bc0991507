"""The pinned sources of llama.cpp: the copy inside llama-cpp-python's source package, fetched by pip and by
hash. The runtime pack is built from it, and its converter makes GGUF files.

Standard library only: the pack is built before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGE = "llama-cpp-python"
VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"


class SourceError(RuntimeError):
    """The sources cannot be had; the text says why."""


def folder_name() -> str:
    """What a folder that holds these sources is called, wherever it lies."""
    return f"{PACKAGE}-{VERSION}-{SHA256[:12]}"


def fetch_into(kept: Path, wanted: Callable[[str], bool], proof: str) -> None:
    """Download and unpack beside `kept`, and put the whole in place at once. Of llama.cpp's files and folders
    those are unpacked whose top name is `wanted`; the file `proof` must be among them. Raises SourceError.
    """
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="fetching-") as temporary:
        archive = download(Path(temporary))
        unpacked = Path(temporary, "unpacked")
        print("Unpacking the sources", file=sys.stderr)  # noqa: T201 -- pip reports there too
        unpack(archive, unpacked, wanted, proof)
        unpacked.rename(kept)


def download(directory: Path) -> Path:
    """pip fetches the archive and checks its hash; its own progress is what the user sees."""
    said = f"Downloading the sources of llama.cpp ({PACKAGE} {VERSION}, 77 MB)"
    print(said, file=sys.stderr)  # noqa: T201 -- pip reports there too
    requirement = directory / "requirement.txt"
    requirement.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir"),
        *("--no-deps", "--no-binary", ":all:", "--require-hashes", "--no-build-isolation"),
        *("--requirement", str(requirement), "--dest", str(directory)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(_stand_in_backend(directory))}
    # pip writes to stdout, which a caller may be reading.
    if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode != 0:
        raise SourceError(
            f"pip could not fetch {PACKAGE} {VERSION}: is there a network, or an index that has it?"
        )
    archives = list(directory.glob("*.tar.gz"))
    if len(archives) != 1:
        raise SourceError(f"pip fetched no source archive of {PACKAGE} {VERSION}")
    return archives[0]


def _stand_in_backend(directory: Path) -> Path:
    """pip asks a source package's build backend for its metadata even when it only downloads. This one
    answers, so that nothing has to be installed for that and none of the package's own code runs.
    """
    backend = directory / "backend" / "scikit_build_core"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    info = f"llama_cpp_python-{VERSION}.dist-info"
    metadata = f"Metadata-Version: 2.1\\nName: llama_cpp_python\\nVersion: {VERSION}\\n"
    (backend / "build.py").write_text(
        "from pathlib import Path\n"
        "def prepare_metadata_for_build_wheel(directory, settings=None):\n"
        f"    info = Path(directory, '{info}')\n"
        "    info.mkdir()\n"
        f"    (info / 'METADATA').write_text('{metadata}')\n"
        "    return info.name\n",
        encoding="utf-8",
    )
    return backend.parent


def unpack(archive: Path, into: Path, wanted: Callable[[str], bool], proof: str) -> None:
    """Unpack what is `wanted` of llama.cpp. The archive's hash was checked, so its names are those that were
    reviewed; names that lead away are left out all the same. Raises SourceError.
    """
    with tarfile.open(archive) as tar:
        tar.extractall(into, members=_members(tar, wanted))
    if not (into / "vendor" / "llama.cpp" / proof).is_file():
        shutil.rmtree(into, ignore_errors=True)
        raise SourceError(f"{archive.name} holds no llama.cpp")


def _members(tar: tarfile.TarFile, wanted: Callable[[str], bool]) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        _, *parts = Path(member.name).parts
        inside = parts[:2] == ["vendor", "llama.cpp"] and len(parts) > 2 and ".." not in parts
        if inside and member.isfile() and wanted(parts[2]):
            member.name = str(Path(*parts))
            yield member
