"""Makes malformed input of every sort, from a seed, and says how it must be answered."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator

from native_host.protocol.frames import encode_frame
from native_host.protocol.limits import MAX_FRAME_BYTES

PING = {"jsonrpc": "2.0", "method": "ping", "id": "p"}

Maker = Callable[[random.Random], tuple[bytes, set[str]]]
"""Makes the bytes of one frame and the kinds of error of which it must get one."""


def random_bytes(chance: random.Random) -> tuple[bytes, set[str]]:
    """Bytes that are hardly ever JSON, and never a request."""
    return encode_frame(chance.randbytes(chance.randint(1, 300))), {"parse_error", "invalid_request"}


def truncated(chance: random.Random) -> tuple[bytes, set[str]]:
    """A request whose end is missing."""
    whole = json.dumps(PING).encode()
    return encode_frame(whole[: chance.randint(1, len(whole) - 1)]), {"parse_error"}


def empty(_: random.Random) -> tuple[bytes, set[str]]:
    """A frame of length 0."""
    return struct.pack("=I", 0), {"parse_error"}


def too_deep(chance: random.Random) -> tuple[bytes, set[str]]:
    """Nesting of up to 100,000, in arrays or objects, closed or not."""
    depth = chance.choice([201, 1000, 100_000])
    opening, closing = chance.choice([(b"[", b"]"), (b'{"a":', b"}")])
    body = opening * depth + b"1" + (closing * depth if chance.random() < 0.5 else b"")
    return encode_frame(body), {"parse_error"}


def not_a_number(chance: random.Random) -> tuple[bytes, set[str]]:
    """NaN and infinities where a number may stand."""
    word = chance.choice([b"NaN", b"Infinity", b"-Infinity", b"nan"])
    return encode_frame(b'{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":%b}}' % word), {"parse_error"}


def bad_text(chance: random.Random) -> tuple[bytes, set[str]]:
    """Bytes inside a string that are no UTF-8, and halves of surrogates."""
    text = chance.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\\ud800", b"\\udfff", b"\n", b"\\x"])
    return encode_frame(b'{"jsonrpc":"2.0","method":"ping","id":"%b"}' % text), {"parse_error"}


def wrong_types(chance: random.Random) -> tuple[bytes, set[str]]:
    """JSON whose members are not what a request's are."""
    member = chance.choice(["jsonrpc", "method", "params", "id"])
    value = chance.choice([True, 1.5, [], {}, [1]]) if member in ("jsonrpc", "method") else True
    return encode_frame(json.dumps({**PING, member: value}).encode()), {"invalid_request"}


def no_object(chance: random.Random) -> tuple[bytes, set[str]]:
    """JSON that is neither an object nor an array with something in it."""
    return encode_frame(chance.choice([b"1", b"null", b'"ping"', b"[]", b"true", b" {} "])), {
        "invalid_request"
    }


def oversize(chance: random.Random) -> tuple[bytes, set[str]]:
    """A length over the limit, with all its bytes: only now and then, they are many."""
    if chance.random() < 0.99:
        return truncated(chance)
    length = MAX_FRAME_BYTES + chance.randint(1, 1000)
    return struct.pack("=I", length) + bytes(length), {"frame_too_large"}


def long_batch(chance: random.Random) -> tuple[bytes, set[str]]:
    """A batch over the limit."""
    return encode_frame(json.dumps([1] * chance.choice([65, 5000])).encode()), {"batch_too_large"}


MAKERS: list[Maker] = [
    random_bytes,
    truncated,
    empty,
    too_deep,
    not_a_number,
    bad_text,
    wrong_types,
    no_object,
    oversize,
    long_batch,
]


def frames(count: int, seed: int) -> Iterator[tuple[bytes, set[str]]]:
    """`count` malformed frames of all sorts, the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.choice(MAKERS)(chance)
