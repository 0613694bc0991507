"""Where the pinned sources of llama.cpp lie, without what a build does not need."""

from __future__ import annotations

from pathlib import Path

from native_host.models.convert import llama_cpp_source
from native_host.models.convert.llama_cpp_source import PACKAGE, SHA256, VERSION, SourceError
from runtime_build import cache
from runtime_build.failure import BuildFailure

__all__ = ["GGML_VERSION", "LLAMA_VERSION", "PACKAGE", "SHA256", "VERSION", "fetch"]

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
    kept = cache.directory("source") / llama_cpp_source.folder_name()
    if not kept.exists():
        with cache.lock("source", wait="the sources are being fetched; waiting for them"):
            if not kept.exists():
                fetch_into(kept)
    return kept / "vendor" / "llama.cpp"


def fetch_into(kept: Path) -> None:
    """Downloads and unpacks. Raises BuildFailure."""
    try:
        llama_cpp_source.fetch_into(kept, lambda name: name not in UNUSED, proof="include/llama.h")
    except SourceError as error:
        raise BuildFailure(str(error)) from None
