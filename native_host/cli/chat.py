"""`native-host chat`: a conversation in the terminal."""

from __future__ import annotations

import signal
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from native_host.cli.conversation import Conversation, Leave, SlashCommands
from native_host.cli.edge import CommandFailed, say
from native_host.cli.loading import LoadingLine
from native_host.cli.opening import opened
from native_host.cli.options import Json, Models, Socket
from native_host.cli.output import err, out, print_json
from native_host.cli.reading import Reader
from native_host.cli.speaking import figures, speak
from native_host.client import Host, HostDied, RpcError, Stream
from native_host.protocol.messages import ChatResult


def chat(
    model: Annotated[str | None, typer.Argument(help="A model of the registry; its default one.")] = None,
    system: Annotated[str | None, typer.Option(help="What the model is to be and do.")] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", "-n", min=1, help="At most so many an answer.")
    ] = 512,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Talk with a model.

    Ctrl-C stops an answer, Ctrl-D leaves, /help lists the commands. Where stdin is no terminal, each line is
    a question; with --json each answer is a JSON document on a line of its own.
    """
    conversation = Conversation(model, system)
    with opened(models, socket) as host:
        reader = Reader()
        if reader.interactive:
            # Also where whoever started us ignores Ctrl-C, as a shell does for what runs in its background.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            _Talk(host, conversation, reader, max_tokens, json).run()
        finally:
            reader.close()


class _Talk:
    def __init__(
        self, host: Host, conversation: Conversation, reader: Reader, max_tokens: int, json: bool
    ) -> None:
        self._host = host
        self._conversation = conversation
        self._reader = reader
        self._max_tokens = max_tokens
        self._json = json
        self._commands = SlashCommands(conversation, host)
        self._out: Console = out()
        self._asides = self._out if reader.interactive and not json else err()
        self._failed = False

    def run(self) -> None:
        """Until the user leaves. Raises typer.Exit(1) where a question from a pipe went without an answer."""
        if self._reader.interactive:
            self._aside("/help lists the commands; Ctrl-D leaves")
        while True:
            try:
                text = self._reader.read()
                if text.strip():
                    self._turn(text)
            except KeyboardInterrupt:
                self._asides.print()
                self._aside("Ctrl-D leaves")
            except (EOFError, Leave):
                break
        if self._reader.interactive:
            self._asides.print()
        if self._failed:
            raise typer.Exit(1)

    def _turn(self, text: str) -> None:
        try:
            if text.startswith("/"):
                self._aside(self._commands.run(text))
            else:
                self._ask(text)
        except HostDied:
            raise
        except (RpcError, CommandFailed) as error:
            self._failed = self._failed or not self._reader.interactive
            say(str(error))

    def _ask(self, text: str) -> None:
        question: dict[str, object] = {"role": "user", "content": text}
        with LoadingLine() as loading:
            stream = self._host.chat(
                [*self._conversation.messages(), question],
                model=self._conversation.model,
                max_tokens=self._max_tokens,
                on_progress=loading.show,
            )
            try:
                self._answer(stream, loading)
            except KeyboardInterrupt:
                stream.cancel()
                self._aside("stopped")
        if stream.text:
            self._conversation.add("user", text)
            self._conversation.add("assistant", stream.text)

    def _answer(self, stream: Stream[ChatResult], loading: LoadingLine) -> None:
        if self._json:
            print_json(stream.result)
            return
        speak(stream, self._out, loading)
        if self._reader.interactive:
            self._aside(figures(stream.result) + "\n")

    def _aside(self, text: str) -> None:
        self._asides.print(Text(text, style="dim"), soft_wrap=True)
