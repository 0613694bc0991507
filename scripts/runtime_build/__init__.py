"""The parts of scripts/build_runtime.py, one file a question. Standard library only: it runs before
anything is built."""

import sys
from pathlib import Path

# The package knows which sources are the pinned ones, and need not be installed yet when a pack is built.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
