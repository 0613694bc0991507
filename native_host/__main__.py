"""The program's door: frames on stdio at once for a parent or a browser, the command line for people.

What a browser starts is a relay to the daemon where there is one, else the host itself.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run. Returns the exit code: 0 done, 1 failed, 2 wrong usage."""
    arguments = sys.argv[1:]
    if not arguments or arguments == ["stdio"] or _from_browser(arguments):
        return _speak_frames(arguments)
    from native_host.cli import app

    app()
    return 0


def _from_browser(arguments: list[str]) -> bool:
    """A guess good enough to choose the door; `transports.browser` reads them properly."""
    return arguments[0].startswith("chrome-extension://") or (
        len(arguments) == 2 and arguments[0].endswith(".json") and "/" in arguments[0]
    )


def _speak_frames(arguments: list[str]) -> int:
    from native_host.platform import standard_streams

    try:
        descriptors = standard_streams.claim()  # before anything that could print is even imported
    except OSError as error:
        sys.stderr.write(f"native-host: standard input and output must be open: {error}\n")
        return 1
    if arguments and arguments != ["stdio"]:  # a browser's
        from native_host.transports.relay.run import run

        code = run(descriptors, arguments)
        if code is not None:
            return code
    from native_host.transports.start import run_stdio

    return run_stdio(descriptors, arguments)


if __name__ == "__main__":
    sys.exit(main())
