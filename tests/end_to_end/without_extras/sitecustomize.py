"""Makes the interpreter that finds this on its path one in which no extra is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

HIDDEN = frozenset({"torch", "transformers", "onnxruntime", "onnxruntime_genai", "fastapi", "uvicorn"})


class BarePathFinder(PathFinder):
    """Finds what the base install has."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As ever, but for the hidden modules, which are nowhere."""
        return None if fullname in HIDDEN else super().find_spec(fullname, path, target)


sys.meta_path[:] = [BarePathFinder if finder is PathFinder else finder for finder in sys.meta_path]
