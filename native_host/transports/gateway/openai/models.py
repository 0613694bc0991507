"""`/v1/models`: the registry as OpenAI's clients list it."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.protocol import errors
from native_host.protocol.messages import ModelListing, NoParams
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.openai.shapes import Model, ModelList
from native_host.transports.gateway.operations import Operation, add

STARTED = int(time.time())
"""When a model was made is not known; clients want a number."""


def add_routes(routes: APIRouter, gateway: Gateway) -> None:
    """`/v1/models` and `/v1/models/NAME`."""

    async def listed(request: Request) -> Response:
        """List the models."""
        found: list[ModelListing] = await gateway.call(request, "models.list", NoParams())
        return json_answer(ModelList(data=[_model(each) for each in found]))

    async def one(request: Request, name: str) -> Response:
        """Describe one model."""
        found: list[ModelListing] = await gateway.call(request, "models.list", NoParams())
        for each in found:
            if each.name == name:
                return json_answer(_model(each))
        raise errors.model_not_found(name, [])

    model = Model(id="tabagent-demo", created=1795262400)
    several = Operation(answer=ModelList, answered=ModelList(data=[model]))
    add(routes, ("/v1/models", "/models"), listed, several, "GET")
    single = Operation(answer=Model, answered=model)
    add(routes, ("/v1/models/{name:path}", "/models/{name:path}"), one, single, "GET")


def _model(listing: ModelListing) -> Model:
    return Model(id=listing.name, created=STARTED)
