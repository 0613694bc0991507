"""Which messages of a session go into the prompt: all of them, until the model's context is too short for
them. Then the oldest turns stay out, more than are in the way just now, so that the next chats begin alike
and find what was computed of that beginning. System messages stay in.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from native_host.models.manager import Lease, ModelManager
from native_host.protocol.messages import ChatMessage, ChatParams
from native_host.service.borrowing import ask
from native_host.service.context import RequestContext
from native_host.service.conversation import conversation
from native_host.service.prompts import Prompts
from native_host.service.tools import offer
from native_host.workers.messages import TemplateRequest, TokenizeRequest

_ANSWER_SHARE = 4
"""The answer gets `max_tokens`, or at least this part of the context."""
_SPARE = 0.75
"""How much of the room a prompt takes once turns are left out."""
_TEMPLATE_BYTES = 1024
_MESSAGE_BYTES = 32
"""What a template adds at most, as a rule: to the whole, and to each message."""


class Window(msgspec.Struct, frozen=True):
    """The `messages` of a prompt; `left_out` of those before the newest ones are not among them. `load_ms` is
    how long the model took to load meanwhile.
    """

    messages: list[ChatMessage]
    left_out: int
    load_ms: float = 0.0


async def fit(
    manager: ModelManager,
    params: ChatParams,
    said: list[ChatMessage],
    left_out: int,
    context: RequestContext,
    prompts: Prompts,
) -> Window:
    """The window of a session in which these messages were `said`, and into which those of `params` come; so
    many have been `left_out` before. Raises what borrowing a model raises.
    """
    if not said:
        return Window(params.messages, 0)
    everything = [*said, *params.messages]

    async def choose(lease: Lease) -> Window:
        def compose(messages: list[ChatMessage]) -> list[ChatMessage]:
            return prompts.compose(params, messages, lease.spec, context.identity)

        fitting = _Fitting(lease, params, everything, compose)
        return Window(*await fitting.choose(left_out, len(said)), lease.load_ms)

    return await ask(manager, params.model, context, choose)


class _Fitting:
    def __init__(
        self,
        lease: Lease,
        params: ChatParams,
        everything: list[ChatMessage],
        compose: Callable[[list[ChatMessage]], list[ChatMessage]],
    ) -> None:
        self._compose = compose
        self._lease = lease
        self._params = params
        self._everything = everything
        length = lease.worker.info.context_length
        self._room = length - min(params.max_tokens, length // _ANSWER_SHARE)

    async def choose(self, left_out: int, new: int) -> tuple[list[ChatMessage], int]:
        """The messages, and how many before those at `new` are not among them."""
        before = self._from(left_out)
        if "tokenize" not in self._lease.worker.info.capabilities or await self._tokens(before) <= self._room:
            return before, left_out
        cuts = [at for at in range(left_out + 1, new + 1) if self._begins_turn(at)]
        if not cuts:
            return before, left_out
        cut = cuts[await self._first_fitting(cuts)]
        return self._from(cut), cut

    async def _first_fitting(self, cuts: list[int]) -> int:
        """Which is the first cut that leaves enough; the last one where none does."""
        low, high = 0, len(cuts) - 1
        while low < high:
            middle = (low + high) // 2
            if await self._tokens(self._from(cuts[middle])) <= self._room * _SPARE:
                high = middle
            else:
                low = middle + 1
        return low

    def _begins_turn(self, at: int) -> bool:
        """Whether the conversation may begin here: a question does, a tool's result or an answer does not."""
        return at < len(self._everything) and self._everything[at].role == "user"

    def _from(self, at: int) -> list[ChatMessage]:
        system = [message for message in self._everything[:at] if message.role == "system"]
        return [*system, *self._everything[at:]]

    async def _tokens(self, messages: list[ChatMessage]) -> int:
        """How many tokens the prompt has; nobody is asked where it has too few bytes to matter."""
        messages = self._compose(messages)
        plain = conversation(messages, self._lease.spec.entry.system_prompt)
        tools = offer(self._params).tools
        size = (
            len(msgspec.json.encode([plain, tools, self._params.documents]))
            + _MESSAGE_BYTES * len(plain)
            + _TEMPLATE_BYTES
        )
        if size <= self._room:
            return size
        request = TemplateRequest(
            plain,
            tools=tools if self._params.tool_choice != "none" else None,
            documents=self._params.documents,
            options=self._params.chat_template_kwargs or {},
        )
        prompt = await self._lease.worker.apply_template(request)
        tokens = await self._lease.worker.tokenize(TokenizeRequest(prompt, False, True))
        return len(tokens) + 1  # the token that a text begins with
