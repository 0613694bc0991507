"""An answer on the screen as it comes, and the line of figures beneath it. Chat and demo share it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from native_host.cli.loading import LoadingLine
from native_host.cli.markdown import MarkdownLight, Styled
from native_host.cli.output import without_controls
from native_host.client import Stream
from native_host.protocol.messages import ChatResult, InferenceResult


def speak(stream: Stream[ChatResult], console: Console, loading: LoadingLine) -> None:
    """Show the answer piece by piece, and end its line, whether it is complete or broken off.

    Raises what the stream raises.
    """
    markdown = MarkdownLight()
    try:
        for piece in stream:
            loading.hide()
            _show(markdown.feed(without_controls(piece)), console)
    finally:
        loading.hide()
        _show(markdown.finish(), console)
        console.print()


def figures(result: InferenceResult) -> str:
    """How long and how fast an answer was."""
    timings = result.timings
    parts = [f"{result.usage.completion_tokens} tokens"]
    if timings.decode_tokens_per_s:
        parts.append(f"{timings.decode_tokens_per_s:.1f} tokens/s")
    if timings.first_token_ms is not None:
        parts.append(f"first token after {_duration(timings.first_token_ms)}")
    if timings.load_ms:
        parts.append(f"model loaded in {_duration(timings.load_ms)}")
    return " · ".join(parts)


def _show(runs: list[Styled], console: Console) -> None:
    for text, style in runs:
        console.print(Text(text, style=style), end="", soft_wrap=True)
    console.file.flush()


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
