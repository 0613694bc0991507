"""`/api/tags`, `/api/ps`, `/api/show`, `/api/delete` and `/api/version`: the registry as Ollama's clients see
it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host import __version__
from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.protocol.errors import RpcError
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.ollama.generating import now
from native_host.transports.gateway.ollama.shapes import (
    Details,
    ModelRequest,
    Running,
    RunningModels,
    Shown,
    Tagged,
    Tags,
    Version,
)
from native_host.transports.gateway.operations import Operation, add

STARTED = now()
"""When a model was changed is not known; clients want a time."""
EXAMPLE = {"model": "tabagent-demo"}
NEVER = "9999-12-31T23:59:59Z"

_CAPABILITIES = {"chat": ("completion", "tools"), "generate": ("completion",), "embed": ("embedding",)}


def add_routes(routes: APIRouter, gateway: Gateway) -> None:
    """All of them."""

    async def tags(request: Request) -> Response:
        """List the models that are here."""
        found = await _listed(gateway, request)
        return json_answer(Tags(models=[_tagged(each) for each in found if each.state != "absent"]))

    async def running(request: Request) -> Response:
        """List the models that are loaded."""
        found = await _listed(gateway, request)
        return json_answer(RunningModels(models=[_running(each) for each in found if each.state == "loaded"]))

    async def show(request: Request) -> Response:
        """Describe a model."""
        asked = await gateway.body(request, ModelRequest)
        listing = _named(asked.named, await _listed(gateway, request))
        return json_answer(_shown(listing, await _inspected(gateway, request, listing)))

    async def delete(request: Request) -> Response:
        """Forget a model."""
        asked = await gateway.body(request, ModelRequest)
        await gateway.call(request, "models.delete", wire.ModelsDeleteParams(model=asked.named))
        return Response(media_type="text/plain")

    async def version(request: Request) -> Response:
        """Which host this is."""
        return json_answer(Version(version=__version__))

    add(routes, "/api/tags", tags, Operation(answer=Tags, answered=_TAGS), "GET")
    add(routes, "/api/ps", running, Operation(answer=RunningModels, answered=_RUNNING), "GET")
    add(
        routes,
        "/api/show",
        show,
        Operation(body=ModelRequest, answer=Shown, answered=_SHOWN, example=EXAMPLE),
    )
    told = Operation(body=ModelRequest, answer=str, answered="", example={"model": "some-model"})
    add(routes, "/api/delete", delete, told, "DELETE")
    told = Operation(answer=Version, answered=Version(version=__version__))
    add(routes, "/api/version", version, told, "GET")


_NAMED: dict[str, Any] = {"name": "tabagent-demo", "model": "tabagent-demo", "digest": "edd" + 61 * "0"}
_DETAILS = Details(format="gguf", family="", families=[], parameter_size="", quantization_level="")
_TAGS = Tags(models=[Tagged(**_NAMED, modified_at="2026-11-21T12:00:00Z", size=7184768, details=_DETAILS)])
_RUNNING = RunningModels(
    models=[
        Running(
            **_NAMED,
            size=54910976,
            details=_DETAILS,
            expires_at="2026-11-21T12:05:00Z",
            size_vram=0,
            context_length=1024,
        )
    ]
)
_SHOWN = Shown(
    modelfile="FROM tabagent-demo\n",
    parameters="",
    template="{% for message in messages %}{{ message['content'] }}{% endfor %}",
    details=Details(
        format="gguf", family="llama", families=["llama"], parameter_size="3.5M", quantization_level="F16"
    ),
    model_info={
        "general.architecture": "llama",
        "general.parameter_count": 3541248,
        "llama.context_length": 1024,
        "llama.embedding_length": 256,
    },
    capabilities=["completion", "tools", "embedding"],
    modified_at="2026-11-21T12:00:00Z",
)


async def _listed(gateway: Gateway, request: Request) -> list[wire.ModelListing]:
    found: list[wire.ModelListing] = await gateway.call(request, "models.list", wire.NoParams())
    return found


def _named(name: str, found: list[wire.ModelListing]) -> wire.ModelListing:
    """Raises model_not_found."""
    for each in found:
        if name in (each.name, f"{each.name}:latest"):
            return each
    raise errors.model_not_found(name, [])


async def _inspected(
    gateway: Gateway, request: Request, listing: wire.ModelListing
) -> wire.ModelInspection | None:
    """What the file says, where it is of a format that says something."""
    try:
        found: wire.ModelInspection = await gateway.call(
            request, "models.inspect", wire.ModelsInspectParams(model=listing.name)
        )
    except RpcError as error:
        if error.kind in ("unsupported", "invalid_model_file"):
            return None
        raise
    return found


def _tagged(listing: wire.ModelListing) -> Tagged:
    return Tagged(
        name=listing.name,
        model=listing.name,
        modified_at=STARTED,
        size=listing.size_bytes or 0,
        digest=_digest(listing),
        details=_details(listing, None),
    )


def _running(listing: wire.ModelListing) -> Running:
    left = listing.unload_in_s
    expires = NEVER
    if left is not None:
        end = datetime.now(timezone.utc) + timedelta(seconds=left)
        expires = end.isoformat().replace("+00:00", "Z")
    return Running(
        name=listing.name,
        model=listing.name,
        size=listing.memory_bytes or 0,
        digest=_digest(listing),
        details=_details(listing, None),
        expires_at=expires,
        size_vram=0,
        context_length=listing.context_length or 0,
    )


def _shown(listing: wire.ModelListing, said: wire.ModelInspection | None) -> Shown:
    capabilities = [able for each in listing.capabilities for able in _CAPABILITIES.get(each, ())]
    return Shown(
        modelfile=f"FROM {listing.name}\n",
        parameters="",
        template=(said and said.chat_template) or "",
        details=_details(listing, said),
        model_info=_info(listing, said),
        capabilities=list(dict.fromkeys(capabilities)),
        modified_at=STARTED,
    )


def _info(listing: wire.ModelListing, said: wire.ModelInspection | None) -> dict[str, Any]:
    architecture = (said and said.architecture) or ""
    told = {
        "general.architecture": architecture,
        "general.parameter_count": said and said.parameters,
        f"{architecture}.context_length": listing.context_length,
        f"{architecture}.embedding_length": said and said.details.get("embedding_length"),
    }
    return {name: value for name, value in told.items() if value}


def _details(listing: wire.ModelListing, said: wire.ModelInspection | None) -> Details:
    family = (said and said.architecture) or ""
    parameters = said.parameters if said is not None else None
    return Details(
        format=listing.format,
        family=family,
        families=[family] if family else [],
        parameter_size=f"{parameters / 1e6:.1f}M" if parameters else "",
        quantization_level=(said and said.quantization) or "",
    )


def _digest(listing: wire.ModelListing) -> str:
    return hashlib.sha256(f"{listing.name}\0{listing.size_bytes}".encode()).hexdigest()
