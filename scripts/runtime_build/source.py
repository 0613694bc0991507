"""The pinned sources of llama.cpp: the copy inside llama-cpp-python's source package, fetched by pip and by
hash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runtime_build import cache
from runtime_build.failure import BuildFailure

PACKAGE = "llama-cpp-python"
VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
LLAMA_VERSION = "0.5.0-dev"
GGML_VERSION = "0.25.3"

# Folders of llama.cpp that neither the pack nor the tools nor a test of ours needs.
UNUSED = {
    "docs",
    "tests",
    "benches",
    "examples",
    "pocs",
    "media",
    "gguf-py",
    "conversion",
    "skills",
    "ci",
}


def fetch() -> Path:
    """The folder of llama.cpp's sources in the cache, downloaded when it is missing."""
    kept = cache.directory("source") / f"{PACKAGE}-{VERSION}-{SHA256[:12]}"
    if not kept.exists():
        with cache.lock("source", wait="the sources are being fetched; waiting for them"):
            if not kept.exists():
                fetch_into(kept)
    return kept / "vendor" / "llama.cpp"


def fetch_into(kept: Path) -> None:
    """Downloads and unpacks beside `kept`, and puts the whole in place at once."""
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="fetching-") as temporary:
        archive = download(Path(temporary))
        unpacked = Path(temporary, "unpacked")
        print("Unpacking the sources", file=sys.stderr)
        unpack(archive, unpacked)
        unpacked.rename(kept)


def download(directory: Path) -> Path:
    """pip fetches the archive and checks its hash; its own progress is what the user sees."""
    print(f"Downloading the sources of llama.cpp ({PACKAGE} {VERSION}, 77 MB)", file=sys.stderr)
    requirement = directory / "requirement.txt"
    requirement.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-deps",
    ]
    command += ["--no-binary", ":all:", "--require-hashes", "--no-build-isolation"]
    command += ["--requirement", str(requirement), "--dest", str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(stand_in_backend(directory))}
    # pip writes to stdout, which a caller may be reading.
    if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode != 0:
        raise BuildFailure(
            f"pip could not fetch {PACKAGE} {VERSION}: is there a network, or an index that has it?"
        )
    archives = list(directory.glob("*.tar.gz"))
    if len(archives) != 1:
        raise BuildFailure(f"pip fetched no source archive of {PACKAGE} {VERSION}")
    return archives[0]


def stand_in_backend(directory: Path) -> Path:
    """pip asks a source package's build backend for its metadata even when it only downloads. This one
    answers, so that nothing has to be installed for that and none of the package's own code runs."""
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


def unpack(archive: Path, into: Path) -> None:
    """Unpacks llama.cpp alone. The archive's hash was checked, so its names are those that were reviewed;
    names that lead away are left out all the same."""
    with tarfile.open(archive) as tar:
        tar.extractall(into, members=wanted(tar))
    if not (into / "vendor" / "llama.cpp" / "include" / "llama.h").is_file():
        shutil.rmtree(into)
        raise BuildFailure(f"{archive.name} holds no llama.cpp")


def wanted(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        _, *parts = Path(member.name).parts
        inside = parts[:2] == ["vendor", "llama.cpp"] and len(parts) > 2 and ".." not in parts
        if inside and member.isfile() and parts[2] not in UNUSED:
            member.name = str(Path(*parts))
            yield member
