"""Public chat templates, rendered by us and by Hugging Face: equal, or differing for a reason that is
told.
"""

from __future__ import annotations

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from .conversations import CONVERSATIONS, Conversation, render
from .differences import REASONS

_REFUSED = "(refused)"


def _ours(template: str, conversation: Conversation) -> str:
    found = render(template, conversation)
    return _REFUSED if found is None else found


def _theirs(template: str, conversation: Conversation) -> str:
    try:
        rendered, _ = render_jinja_template(
            [conversation.messages],
            tools=conversation.tools,
            documents=conversation.documents,
            chat_template=template,
            add_generation_prompt=conversation.add_generation_prompt,
            bos_token="<s>",
            eos_token="</s>",
            **conversation.options,
        )
    except Exception:  # noqa: BLE001 - whatever Python raises where a template does not fit
        return _REFUSED
    return str(rendered[0])


def _equal(template: str, conversation: Conversation) -> bool:
    theirs = _theirs(template, conversation)
    ours = _ours(template, conversation)
    # Some templates write the date, which may have changed.
    return ours in (theirs, _theirs(template, conversation))


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_they_render_as_by_hugging_face(templates: dict[str, str], name: str) -> None:
    conversation = CONVERSATIONS[name]
    differing = {title for title, text in templates.items() if not _equal(text, conversation)}
    told = {title for reason in REASONS for title in reason.where.get(name, ())}
    assert differing == told


def test_most_templates_render(templates: dict[str, str]) -> None:
    """So that two refusals, which count as equal, are no way to be equal everywhere."""
    rendered = [
        _ours(text, conversation) != _REFUSED
        for text in templates.values()
        for conversation in CONVERSATIONS.values()
    ]
    assert len(templates) > 60
    assert sum(rendered) > 0.9 * len(rendered)
