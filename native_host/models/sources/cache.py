"""Downloads for scripts, without a host: `ModelCache().download_quant("owner/repo", "Q4_K_M")`.

It shares its folder, its checks and its locks with `models.pull`, so what one has fetched the other finds.
Models are handed out by path and never through memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from native_host.models.sources.source import HubSource
from native_host.models.sources.store import Store

OnProgress = Callable[[int, int], None]
"""Gets the bytes that are here and those of all files."""


class ModelCache:
    """Pulled models in a folder (`MODEL_CACHE_DIR`, else the user's own)."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self._store = Store(Path(folder).expanduser().absolute() if folder is not None else None)

    def has_file(self, repo: str, file: str) -> bool:
        """Whether a file is here: by its path in the repository, or `QUANT.gguf` for the model of that
        quantization, whatever its file is called."""
        return self._find(repo, file) is not None

    def get_path(self, repo: str, file: str) -> Path:
        """Where a file lies; named as for `has_file`. Raises FileNotFoundError."""
        path = self._find(repo, file)
        if path is None:
            raise FileNotFoundError(f"{file} of {repo} is not here; download_quant fetches it")
        return path

    def download_quant(
        self, repo: str, quant: str | None = None, on_progress: OnProgress | None = None
    ) -> Path:
        """Have a model of a repository here, and say where: a file, or a folder for other formats than GGUF.

        Raises RpcError of kind `download_failed`; asked again, it goes on where that one stopped.
        """
        from native_host.models.sources.download import Step, download

        def step(step: Step) -> None:
            if on_progress is not None and step.total:
                on_progress(step.done, step.total)

        return download(HubSource(repo, quant), self._store, step).path

    def _find(self, repo: str, file: str) -> Path | None:
        shelf = self._store.shelf(HubSource(repo))
        label = file.removesuffix(".gguf").casefold()
        for pulled in shelf.records():
            if file in [each.path for each in pulled.files]:
                return shelf.folder / file
            if pulled.format == "gguf" and pulled.label.casefold() == label:
                return shelf.model_path(pulled)
        return None
