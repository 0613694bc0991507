"""The third turn of a chat of 2,000 tokens: its time to first token against the first turn's.

    python benchmarks/third_turn.py [--model 135m|0.5b|FILE] [--tokens 1900]

The first turn brings a long text; the next two ask a line each about it. Only what is new should be computed.
There is no peer: the goal is a ratio of our own figures.
"""

from __future__ import annotations

import statistics
import time

from harness import ours, running
from harness.report import AtMost, Report, Row
from harness.running import Options

from native_host.client import Host

QUESTION = "And what does the second part say?"
WORDS = "frame host model worker socket answer token cache prompt stream batch weight"


def main() -> None:
    parser = running.parser(__doc__, rounds=3)
    parser.add_argument("--tokens", type=int, default=1900)
    arguments = parser.parse_args()
    tokens: int = 100 if arguments.quick else arguments.tokens
    running.run(arguments, lambda options: [measure(options, tokens)])


def measure(options: Options, tokens: int) -> Report:
    with ours.spawned(options.model, {"threads": options.threads, "context_length": tokens + 512}) as host:
        host.load(ours.NAME)
        chats = [chat(host, text_of(host, tokens, round_)) for round_ in range(options.rounds)]
    first, third = (statistics.median(column) for column in zip(*chats, strict=True))
    ratio = statistics.median(third / first for first, third in chats)
    found = Row(what="time to first token", unit="s", ours=third, peer=first, ratio=ratio, goal=AtMost(0.1))
    return Report(
        f"A chat whose first turn has {tokens} tokens", [found], ours="third turn", peer="first turn"
    )


def text_of(host: Host, tokens: int, round_: int) -> str:
    """A text of about so many tokens that no earlier round began with."""
    words = WORDS.split()
    text = f"Text {round_}: " + " ".join(words[(i * i + round_) % len(words)] for i in range(tokens))
    found = host.tokenize(text, model=ours.NAME)
    return host.detokenize(found[:tokens], model=ours.NAME)


def chat(host: Host, text: str) -> tuple[float, float]:
    """Seconds to the first token of the first and the third turn."""
    conversation = [{"role": "user", "content": text}]
    firsts = []
    for _ in range(3):
        began = time.perf_counter()
        stream = host.chat(conversation, model=ours.NAME, max_tokens=16, temperature=0.0, ignore_eos=True)
        pieces = stream.pieces()
        next(pieces)
        firsts.append(time.perf_counter() - began)
        for _ in pieces:  # a stream that is let go of is cancelled
            pass
        conversation += [{"role": "assistant", "content": stream.result.message.content}]
        conversation += [{"role": "user", "content": QUESTION}]
    return firsts[0], firsts[2]


if __name__ == "__main__":
    main()
