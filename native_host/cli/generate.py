"""`native-host generate`: one prompt, one text. Made for pipes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from native_host.cli.edge import CommandFailed
from native_host.cli.loading import LoadingLine
from native_host.cli.opening import opened
from native_host.cli.options import Json, Models, Socket
from native_host.cli.output import print_json, without_controls
from native_host.client import Generated, Host, Options, Stream
from native_host.protocol.messages import ChatResult

Question = Stream[ChatResult] | Stream[Generated]


def generate(
    prompt: Annotated[str, typer.Argument(help="The text to continue; - reads it from stdin.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="A model of the registry.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Ask it as a question, by the chat template.")] = False,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", "-n", min=1, help="At most so many.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="0: always the likeliest.")] = None,
    top_k: Annotated[int | None, typer.Option(min=0, help="Of the likeliest so many; 0: of all.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of those that make up this share.")
    ] = None,
    min_p: Annotated[float | None, typer.Option(min=0, max=1, help="Of those at least so likely.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Continue PROMPT and print the text.

    In a pipe the output is the text and nothing else: no line end is added.
    """
    text = _from_stdin() if prompt == "-" else prompt
    options = _given(
        model=model,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        seed=seed,
        stop=stop or None,
    )
    with opened(models, socket) as host, LoadingLine() as loading:
        stream = _ask(host, text, chat, options, loading)
        if json:
            print_json(stream.result)
        else:
            _write(stream, loading)


def _ask(host: Host, text: str, chat: bool, options: Options, loading: LoadingLine) -> Question:
    if chat:
        return host.chat(text, on_progress=loading.show, **options)
    return host.stream(text, on_progress=loading.show, **options)


def _write(stream: Question, loading: LoadingLine) -> None:
    terminal = sys.stdout.isatty()
    for piece in stream:
        loading.hide()
        sys.stdout.write(without_controls(piece) if terminal else piece)
        sys.stdout.flush()
    if terminal:
        sys.stdout.write("\n")


def _from_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CommandFailed(f"stdin is not UTF-8 text: byte {error.start}") from error


def _given(**options: object) -> Options:
    return {name: value for name, value in options.items() if value is not None}  # type: ignore[return-value]
