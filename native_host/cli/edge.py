"""The edge of the program: what a command raises becomes one line on stderr and an exit code."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec

import typer
from rich.text import Text

from native_host.cli.output import err
from native_host.client.errors import ClientError
from native_host.protocol.errors import RpcError

P = ParamSpec("P")

DEBUG_VARIABLE = "NATIVE_HOST_DEBUG"


class CommandFailed(Exception):
    """A command cannot do what it was asked; the text is what the user reads."""


def edged(command: Callable[P, None]) -> Callable[P, None]:
    """The command, with exit code 0 for done and 1 for failed; wrong usage (2) is typer's own."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            return
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except BrokenPipeError:
            _silence_stdout()  # whoever read our output has seen enough, as `head` does
        except (CommandFailed, RpcError, ClientError, OSError) as error:
            say(str(error))
        except KeyboardInterrupt:
            say("interrupted")
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            say(f"a fault in native-host: {type(error).__name__}: {error} ({DEBUG_VARIABLE}=1 shows where)")
        raise typer.Exit(1)

    return run


def say(problem: str) -> None:
    """One problem, on stderr."""
    err().print(Text.assemble(("error:", "red"), f" {problem}"), soft_wrap=True)


def _silence_stdout() -> None:
    """Keep the interpreter from complaining when it flushes what can no longer be delivered."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
