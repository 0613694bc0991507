"""How each API that is spoken here says that something went wrong. The only place that turns errors into HTTP
answers.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from msgspec import Struct
from starlette.responses import Response

from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import RpcError, http_status


class OwnErrorBody(Struct, kw_only=True):
    """`kind` and `code` are the catalogue's; members that its row names come beside them."""

    code: int
    kind: str
    message: str


class OwnError(Struct, kw_only=True):
    """An error of the host's own API."""

    error: OwnErrorBody


class OpenAIErrorBody(Struct, kw_only=True):
    """`code` is the kind of the error in the host's catalogue, `param` the member at fault."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(Struct, kw_only=True):
    """An error as OpenAI's API has it."""

    error: OpenAIErrorBody


class PlainError(Struct, kw_only=True):
    """An error as Ollama has it."""

    error: str


class Dialect(Protocol):
    """`name` of the API, and the body that it has for an error, with the shape of that."""

    name: str
    shape: type[Struct]

    def body(self, error: RpcError) -> dict[str, Any]:
        """The JSON that stands for the error."""


class OwnDialect:
    """What the wire says, as HTTP."""

    name = "native-host"
    shape: type[Struct] = OwnError

    def body(self, error: RpcError) -> dict[str, Any]:
        """`{"error": {"code", "kind", "message", …}}`."""
        told = {name: value for name, value in error.data.items() if name != "kind"}
        head = {"code": error.code, "kind": error.kind, "message": error.message}
        return {"error": {**told, **head}}


class OpenAIDialect:
    """As OpenAI's API has it; `code` is the kind of the error here."""

    name = "openai"
    shape: type[Struct] = OpenAIError

    def body(self, error: RpcError) -> dict[str, Any]:
        """`{"error": {"message", "type", "param", "code"}}`."""
        told = {
            "message": error.message,
            "type": _openai_type(http_status(error.kind)),
            "param": error.data.get("path") or None,
            "code": error.kind,
        }
        return {"error": told}


class PlainDialect:
    """As Ollama has it: the message, and nothing else."""

    name = "ollama"
    shape: type[Struct] = PlainError

    def body(self, error: RpcError) -> dict[str, Any]:
        """`{"error": "…"}`."""
        return {"error": error.message}


OWN = OwnDialect()
OPENAI = OpenAIDialect()
OLLAMA = PlainDialect()

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def _openai_type(status: int) -> str:
    return _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def refusal(error: RpcError, dialect: Dialect, request_id: str | None = None) -> Response:
    """The whole answer to a request that failed before anything was sent."""
    headers = {} if request_id is None else {"x-request-id": request_id}
    status = http_status(error.kind)
    retry_after_s = error.data.get("retry_after_s")
    if isinstance(retry_after_s, int | float):
        headers["retry-after"] = str(max(1, math.ceil(retry_after_s)))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(encode_value(dialect.body(error)), status, headers, "application/json")
