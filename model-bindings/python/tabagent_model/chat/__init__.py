"""Chats with tools and thoughts: how models write them, and how that is asked for and read.

`ChatStyle` is one model's way, found from its chat template; its `plan` says what to generate, and has a
`Reader` for the answer. Pure Python over what `tabagent_model` offers: any of its engines can be behind it.
"""

from __future__ import annotations

from .grammar import parameter_of
from .reader import CallPiece, News, Reader
from .style import ChatInputs, ChatStyle, Plan, Prompt, ToolChoice, written

__all__ = [
    "CallPiece",
    "ChatInputs",
    "ChatStyle",
    "News",
    "Plan",
    "Prompt",
    "Reader",
    "ToolChoice",
    "parameter_of",
    "written",
]
