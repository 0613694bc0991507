"""Named system prompts: template files that a request, a key or a model asks for by name, each wrapped around
what there was before it.

A template is `NAME.txt`, in Jinja2's language. `system` is the system prompt that it wraps (empty where there
is none), `model` the model's name, `date` today; `{% include "other" %}` takes in another template. The
variables that a request brings reach its own prompt only, as texts and never as templates.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from native_host.models.manager import ModelManager
from native_host.models.spec import ModelSpec
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.protocol.messages import ChatMessage, ChatParams, ChatResult
from native_host.service.context import RequestContext

if TYPE_CHECKING:
    from jinja2 import Environment

BUILT_IN = Path(__file__).with_name("prompt_templates")
SUFFIX = ".txt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_OWN_VARIABLES = ("system", "model", "date")

ChatHandler = Callable[[ChatParams, RequestContext], Awaitable[ChatResult]]


class Prompts:
    """The templates of some folders; the first that has a name counts. Files are looked at for every use."""

    def __init__(self, manager: ModelManager, folders: Sequence[Path] = (BUILT_IN,)) -> None:
        self._manager = manager
        self._folders = folders
        self._environment: Environment | None = None

    def names(self) -> list[str]:
        """Of all templates."""
        found = {file.stem for folder in self._folders for file in folder.glob(f"*{SUFFIX}")}
        return sorted(name for name in found if _NAME.fullmatch(name))

    def before(self, handle: ChatHandler) -> ChatHandler:
        """A handler of chats that have their whole system prompt, for one of those that name theirs."""

        async def handle_whole(params: ChatParams, context: RequestContext) -> ChatResult:
            spec = self._manager.registry.resolve(params.model)
            messages = self.compose(params, params.messages, spec, context.identity)
            whole = msgspec.structs.replace(params, messages=messages, prompt=None, prompt_variables=None)
            return await handle(whole, context)

        return handle_whole

    def compose(
        self, params: ChatParams, messages: list[ChatMessage], spec: ModelSpec, identity: Identity
    ) -> list[ChatMessage]:
        """The messages with their whole system prompt: the request's own words, in the prompt that the
        request names, in the model's, in the key's. Raises invalid_params.
        """
        if params.prompt is None and params.prompt_variables:
            raise errors.invalid_params("prompt_variables", "there is no prompt that they could be for")
        layers = [
            ("prompt", params.prompt, params.prompt_variables or {}),
            ("the model's prompt", spec.entry.prompt, {}),
            ("the key's prompt", identity.prompt, {}),
        ]
        if all(name is None for _, name, _ in layers):
            return messages
        own = messages[0] if messages and messages[0].role == "system" else None
        system = _text(own) if own is not None else ""
        for whose, name, variables in layers:
            if whose == "the model's prompt" and not system:
                system = spec.entry.system_prompt or ""
            if name is not None:
                system = self._render(whose, name, {**variables, **_given(system, spec)})
        rest = messages[1:] if own is not None else messages
        return [ChatMessage(role="system", content=system), *rest] if system else rest

    def _render(self, whose: str, name: str, variables: Mapping[str, str]) -> str:
        from jinja2 import TemplateError, TemplateNotFound, UndefinedError

        self._check_name(whose, name)
        try:
            return self._templates().get_template(name).render(variables).strip()
        except UndefinedError as error:
            raise _wrong(whose, f"{name!r} needs a variable: {error.message}") from None
        except TemplateNotFound as error:
            raise _wrong(whose, f"{name!r} includes {error.name!r}, which is not there") from None
        except (TemplateError, ValueError, TypeError, ArithmeticError, RecursionError, OSError) as error:
            raise _wrong(whose, f"{name!r} cannot be rendered: {error}") from None

    def _source(self, name: str) -> tuple[str, str, Callable[[], bool]] | None:
        """A template's text, where it is from, and whether it still says that."""
        if _NAME.fullmatch(name) is None:
            return None
        for folder in self._folders:
            file = folder / f"{name}{SUFFIX}"
            if file.is_file():
                unchanged = functools.partial(_unchanged, file, file.stat().st_mtime_ns)
                return file.read_text(encoding="utf-8"), str(file), unchanged
        return None

    def _check_name(self, whose: str, name: str) -> None:
        known = self.names()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known) or 'none'}"
            raise _wrong(whose, f"no prompt {name!r}; {hint}")

    def _templates(self) -> Environment:
        if self._environment is None:
            from jinja2 import FunctionLoader, StrictUndefined
            from jinja2.sandbox import ImmutableSandboxedEnvironment

            self._environment = ImmutableSandboxedEnvironment(
                loader=FunctionLoader(self._source), undefined=StrictUndefined, trim_blocks=True
            )
        return self._environment


def _unchanged(file: Path, changed: int) -> bool:
    try:
        return file.stat().st_mtime_ns == changed
    except OSError:
        return False


def _given(system: str, spec: ModelSpec) -> dict[str, str]:
    return dict(zip(_OWN_VARIABLES, (system, spec.name, date.today().isoformat()), strict=True))


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, list):
        texts = [part.get("text") for part in message.content]
        return "".join(text for text in texts if isinstance(text, str))
    return message.content or ""


def _wrong(whose: str, problem: str) -> RpcError:
    return errors.invalid_params("prompt", problem if whose == "prompt" else f"{whose}: {problem}")
