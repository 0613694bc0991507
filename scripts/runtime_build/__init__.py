"""The parts of scripts/build_runtime.py, one file a question. Standard library only: it runs before
anything is built."""
