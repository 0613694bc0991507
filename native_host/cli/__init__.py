"""The command line. `app` is all that others need."""

from native_host.cli.program import app

__all__ = ["app"]
