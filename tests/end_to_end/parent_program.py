"""A parent for a test to kill: spawns a host, starts a long answer, says who is who, and reads on.

Usage: parent_program.py MODELS_JSON MODEL
"""

from __future__ import annotations

import sys

from native_host.client import Host


def main() -> None:
    """Print the host's process id after the first piece of the answer."""
    with Host.spawn(models=sys.argv[1]) as host:
        stream = host.stream("once upon a time", model=sys.argv[2], max_tokens=8000, ignore_eos=True)
        for index, _ in enumerate(stream):
            if index == 0:
                sys.stdout.write(f"{host.info.server.pid}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
