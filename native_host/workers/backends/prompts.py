"""What is known of a prompt before anything computes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

from native_host.protocol import errors
from native_host.workers.messages import TemplateRequest

T = TypeVar("T")

_LONGEST_TOKEN_BYTES = 512
"""More than any token of the vocabularies in use has; the longest are runs of 128 blanks or so."""


def require_room(text: str, context_length: int) -> None:
    """Refuse what is too long whatever its tokens are: finding them takes seconds for tens of megabytes, and
    everyone else's text would wait. Raises input_too_long.
    """
    limit = context_length * _LONGEST_TOKEN_BYTES
    length = len(text.encode())
    if length > limit:
        raise errors.input_too_long(limit, bytes_=length)


def template_arguments(request: TemplateRequest) -> dict[str, Any]:
    """What the native module's renderer takes, by its names."""
    return {
        **request.options,
        "messages": [message.fields() for message in request.messages],
        "tools": request.tools,
        "documents": request.documents,
        "add_generation_prompt": request.add_generation_prompt,
    }


def common(one: Sequence[T], other: Sequence[T]) -> int:
    """How many first tokens, or characters, two prompts have in common."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
