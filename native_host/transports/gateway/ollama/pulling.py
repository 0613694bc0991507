"""`/api/pull`: models of a hub, by the names that Ollama gives them (`hf.co/owner/repo:quant`) or ours."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.protocol import messages as wire
from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import RpcError
from native_host.transports.gateway.call import Piece, Progress
from native_host.transports.gateway.dialects import OLLAMA
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.ollama.generating import NDJSON
from native_host.transports.gateway.ollama.shapes import ModelRequest, Status
from native_host.transports.gateway.operations import Operation, add

EXAMPLE = {"model": "tabagent-demo", "stream": False}

_HUB = re.compile(r"^(?:https?://)?(?:hf\.co|huggingface\.co)/")


def add_routes(routes: APIRouter, gateway: Gateway) -> None:
    """The one of it."""

    async def pull(request: Request) -> Response:
        """Fetch a model, and tell how far it is."""
        asked = await gateway.body(request, ModelRequest)
        if await _is_here(gateway, request, asked.named):
            media_type = "application/json" if asked.stream is False else NDJSON
            return Response(_line(Status(status="success")), media_type=media_type)
        params = wire.ModelsPullParams(source=_HUB.sub("hf:", asked.named))
        if asked.stream is False:
            await gateway.call(request, "models.pull", params)
            return json_answer(Status(status="success"))
        call = gateway.begin(request, "models.pull", params, with_progress=True)
        return await gateway.answer_streaming(call, PullLines())

    done = Status(status="success")
    steps = [Status(status="fetching model.gguf", completed=1048576, total=7184768), done]
    streamed = b"".join(map(_line, steps)).decode()
    told = Operation(
        body=ModelRequest, answer=Status, answered=done, streams={NDJSON: streamed}, example=EXAMPLE
    )
    add(routes, "/api/pull", pull, told)


async def _is_here(gateway: Gateway, request: Request, name: str) -> bool:
    """Whether a model of this name needs no fetching."""
    found: list[wire.ModelListing] = await gateway.call(request, "models.list", wire.NoParams())
    return any(each.state != "absent" and name in (each.name, f"{each.name}:latest") for each in found)


class PullLines:
    """A line a step."""

    media_type = NDJSON

    def piece(self, piece: Piece | Progress) -> bytes:
        """How far it is."""
        if isinstance(piece, Piece):
            return b""
        done, total = piece.counted or (None, None)
        return _line(Status(status=piece.message, completed=done, total=total))

    def end(self, result: wire.ModelsPullResult) -> bytes:
        """It is here."""
        return _line(Status(status="success"))

    def failed(self, error: RpcError) -> bytes:
        """It is not."""
        return _line(OLLAMA.body(error))


def _line(value: object) -> bytes:
    return encode_value(value) + b"\n"
