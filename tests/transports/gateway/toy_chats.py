"""A service whose chats say back what they are told. It stands for models here, and says so in its name."""

from __future__ import annotations

import asyncio
from itertools import count

from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.service.context import RequestContext


class ToyChats:
    """Knows the models `one` (the default) and `two`. "wait" waits for `go`, "fail" fails with a path in its
    error, `long N` answers N characters, everything else is said back with the number of messages before it.
    """

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, str], list[str]] = {}
        self.chats: list[wire.ChatParams] = []
        self.waiting = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._numbers = count()

    async def handle(self, method: str, params: wire.Params, context: RequestContext) -> object:
        """Answer sessions, chats and the list of models."""
        owner = context.identity.owner
        if isinstance(params, wire.SessionsCreateParams):
            if params.model not in (None, "one", "two"):
                raise errors.model_not_found(str(params.model), ["one"])
            name = f"s{next(self._numbers)}"
            self.sessions[owner, name] = []
            return wire.SessionsCreateResult(session=name)
        if isinstance(params, wire.SessionParams):
            if self.sessions.pop((owner, params.session), None) is None:
                raise errors.session_not_found(params.session)
            return None
        if isinstance(params, wire.ChatParams):
            return await self._chat(params, owner)
        return [
            wire.ModelListing(
                name=name,
                format="gguf",
                type="gguf",
                state="available",
                size_bytes=1,
                capabilities=can,
                default=name == "one",
            )
            for name, can in (("one", ["chat"]), ("two", ["chat"]), ("vectors", ["embed"]))
        ]

    async def _chat(self, params: wire.ChatParams, owner: str) -> wire.ChatResult:
        self.chats.append(params)
        said = self.sessions.get((owner, str(params.session)))
        if params.session is not None and said is None:
            raise errors.session_not_found(str(params.session))
        text = str(params.messages[-1].content)
        answer = f"{len(said or ())} {text}"
        if text == "wait":
            self.waiting.set()
            await self._wait()
        elif text == "fail":
            raise errors.invalid_model_file("/secret/place", "is broken")
        elif text.startswith("long "):
            answer = " ".join(str(number) for number in range(int(text[5:])))
        if said is not None:
            said += [text, answer]
        return wire.ChatResult(
            message=wire.AssistantMessage(content=answer),
            finish_reason="stop",
            model=params.model or "one",
            usage=wire.Usage(prompt_tokens=1, completion_tokens=2, cached_tokens=0),
            timings=wire.Timings(),
            seed=0,
        )

    async def _wait(self) -> None:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
