"""What is refused of a prompt before anything computes."""

from __future__ import annotations

from native_host.protocol import errors

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
