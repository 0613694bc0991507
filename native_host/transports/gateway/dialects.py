"""How each API that is spoken here says that something went wrong. The only place that turns errors into HTTP
answers.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from starlette.responses import Response

from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import RpcError, http_status


class Dialect(Protocol):
    """`name` of the API, and the body that it has for an error."""

    name: str

    def body(self, error: RpcError) -> dict[str, Any]:
        """The JSON that stands for the error."""


class OwnDialect:
    """What the wire says, as HTTP."""

    name = "native-host"

    def body(self, error: RpcError) -> dict[str, Any]:
        """`{"error": {"code", "kind", "message", …}}`."""
        told = {name: value for name, value in error.data.items() if name != "kind"}
        head = {"code": error.code, "kind": error.kind, "message": error.message}
        return {"error": {**told, **head}}


class OpenAIDialect:
    """As OpenAI's API has it; `code` is the kind of the error here."""

    name = "openai"

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
