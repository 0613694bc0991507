"""Cuts what a `$/stream` tells of a call into parts, where it is too long for a frame."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from native_host.protocol.messages import FunctionDelta, ToolCallDelta


def parts_of(call: ToolCallDelta, most: int) -> Iterator[ToolCallDelta]:
    """The same in parts of at most so many characters of arguments; the first has the name."""
    name, arguments = call.function.name, call.function.arguments
    yield replace(call, function=FunctionDelta(name, arguments[:most]))
    for start in range(most, len(arguments), most):
        yield ToolCallDelta(index=call.index, function=FunctionDelta(None, arguments[start : start + most]))
