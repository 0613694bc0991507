"""The error catalogue: one table of every code and kind, and one function for each kind that makes the error.

The table is append-only. Layers raise `RpcError`; only this module decides codes, HTTP statuses and wording.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec


class ErrorKind(msgspec.Struct, frozen=True):
    """A row of the catalogue: `data` names the members of `error.data` beside `kind`."""

    kind: str
    code: int
    http: int
    data: tuple[str, ...] = ()


CATALOGUE: dict[str, ErrorKind] = {
    row.kind: row
    for row in (
        ErrorKind("parse_error", -32700, 400, ("frame",)),
        ErrorKind("invalid_request", -32600, 400),
        ErrorKind("frame_too_large", -32600, 413),
        ErrorKind("batch_too_large", -32600, 413),
        ErrorKind("duplicate_id", -32600, 400),
        ErrorKind("method_not_found", -32601, 404, ("method",)),
        ErrorKind("invalid_params", -32602, 422, ("path", "problem")),
        ErrorKind("internal_error", -32603, 500, ("incident",)),
        ErrorKind("cancelled", -32800, 499, ("text", "usage")),
        ErrorKind("unauthenticated", -32001, 401, ("scheme", "nonce")),
        ErrorKind("not_initialized", -32002, 400),
        ErrorKind("permission_denied", -32003, 403, ("scope",)),
        ErrorKind("unsupported_protocol", -32004, 426, ("supported",)),
        ErrorKind("model_not_found", -32010, 404, ("model", "nearest")),
        ErrorKind("model_load_failed", -32011, 500, ("model", "reason")),
        ErrorKind("insufficient_memory", -32012, 507, ("needed_bytes", "available_bytes", "unloadable")),
        ErrorKind("unsupported", -32013, 501, ("feature", "install")),
        ErrorKind("invalid_model_file", -32014, 422, ("file", "problem")),
        ErrorKind("model_absent", -32015, 409, ("model", "command")),
        ErrorKind("download_failed", -32016, 502, ("source", "reason", "resumable")),
        ErrorKind("adapter_not_found", -32017, 404, ("name",)),
        ErrorKind("session_not_found", -32018, 404, ("name",)),
        ErrorKind("stream_not_found", -32019, 404, ("name",)),
        ErrorKind("rate_limited", -32020, 429, ("retry_after_s",)),
        ErrorKind("overloaded", -32021, 503, ("queue_depth", "retry_after_s")),
        ErrorKind("timeout", -32022, 504, ("text", "usage")),
        ErrorKind("input_too_long", -32023, 413, ("tokens", "bytes", "limit")),
        ErrorKind("content_rejected", -32024, 422, ("rule",)),
        ErrorKind("quota_exceeded", -32025, 429, ("retry_after_s",)),
        ErrorKind("shutting_down", -32026, 503),
        ErrorKind("worker_crashed", -32030, 502, ("attempts",)),
    )
}


class RpcError(Exception):
    """An error with a place in the catalogue. `data` is what the wire carries, `kind` included."""

    def __init__(self, kind: str, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = CATALOGUE[kind].code
        self.message = message
        self.data: dict[str, Any] = {"kind": kind, **(data or {})}


def http_status(kind: str) -> int:
    """The HTTP status that stands for this kind of error."""
    return CATALOGUE[kind].http


def from_wire(code: int, message: str, data: Mapping[str, Any] | None) -> RpcError:
    """The error that another process of ours sent. An unknown kind becomes the first kind with its code."""
    found = dict(data or {})
    kind = str(found.pop("kind", ""))
    if kind not in CATALOGUE:
        kind = next((row.kind for row in CATALOGUE.values() if row.code == code), "internal_error")
    return RpcError(kind, message, found)


def parse_error(problem: str) -> RpcError:
    return RpcError("parse_error", f"not valid JSON: {problem}")


def invalid_request(problem: str) -> RpcError:
    return RpcError("invalid_request", f"not a valid request: {problem}")


def frame_too_large(length: int, limit: int) -> RpcError:
    return RpcError(
        "frame_too_large", f"a frame of {length} bytes is over the limit of {limit}", {"limit": limit}
    )


def batch_too_large(limit: int) -> RpcError:
    return RpcError("batch_too_large", f"a batch has at most {limit} members", {"limit": limit})


def duplicate_id() -> RpcError:
    return RpcError("duplicate_id", "a request with this id is still in flight")


def method_not_found(method: str) -> RpcError:
    return RpcError("method_not_found", f"no method {method!r}", {"method": method})


def invalid_params(path: str, problem: str) -> RpcError:
    """`path` is the member inside `params`, such as `messages[0].role`; empty for `params` itself."""
    where = f"{path}: " if path else ""
    return RpcError("invalid_params", f"invalid params: {where}{problem}", {"path": path, "problem": problem})


def internal_error(incident: str) -> RpcError:
    return RpcError("internal_error", f"internal error; the log has it as {incident}", {"incident": incident})


def cancelled(problem: str = "the request was cancelled") -> RpcError:
    """Whoever answers the request fills in what it had produced (`messages.Partial.told`)."""
    return RpcError("cancelled", problem, {"text": None, "usage": None})


def unauthenticated(scheme: str, nonce: str, problem: str = "authenticate first") -> RpcError:
    """`scheme` is the way to try, of those that `initialize` told; `nonce` is for it, in hex."""
    return RpcError("unauthenticated", problem, {"scheme": scheme, "nonce": nonce})


def not_initialized(method: str) -> RpcError:
    return RpcError("not_initialized", f"call initialize before {method}")


def permission_denied(scope: str, problem: str | None = None) -> RpcError:
    """`scope` is what is missing: one of a key's, or `address` and `origin` where those are refused."""
    return RpcError("permission_denied", problem or f"this peer may not: {scope}", {"scope": scope})


def unsupported_protocol(wanted: str, supported: Sequence[str], side_to_update: str) -> RpcError:
    text = (
        f"protocol version {wanted!r} is not spoken here ({', '.join(supported)} is): update {side_to_update}"
    )
    return RpcError("unsupported_protocol", text, {"supported": list(supported)})


def model_not_found(model: str, nearest: Sequence[str]) -> RpcError:
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
    return RpcError(
        "model_not_found", f"no model {model!r}{hint}", {"model": model, "nearest": list(nearest)}
    )


def model_load_failed(model: str, reason: str) -> RpcError:
    return RpcError(
        "model_load_failed",
        f"model {model!r} could not be loaded: {reason}",
        {"model": model, "reason": reason},
    )


def insufficient_memory(
    needed_bytes: int, available_bytes: int, problem: str | None = None, unloadable: Sequence[str] = ()
) -> RpcError:
    """`problem` says more than the two figures, where somebody knows more; unloading the models in
    `unloadable` would give more.
    """
    return RpcError(
        "insufficient_memory",
        problem or f"{needed_bytes} bytes are needed and {available_bytes} are available",
        {
            "needed_bytes": needed_bytes,
            "available_bytes": available_bytes,
            "unloadable": list(unloadable),
        },
    )


def unsupported(feature: str, install: str | None = None) -> RpcError:
    """`install` is the extra that brings the feature, where there is one."""
    hint = f"; install {install}" if install else ""
    return RpcError(
        "unsupported", f"not supported here: {feature}{hint}", {"feature": feature, "install": install}
    )


def invalid_model_file(file: str, problem: str) -> RpcError:
    """`file` is a path; where it is no UTF-8, which messages are, it is told as well as can be."""
    shown = file.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return RpcError("invalid_model_file", f"{shown}: {problem}", {"file": shown, "problem": problem})


def model_absent(model: str, command: str) -> RpcError:
    return RpcError(
        "model_absent",
        f"model {model!r} is not on this machine; get it by: {command}",
        {"model": model, "command": command},
    )


def download_failed(source: str, reason: str, resumable: bool) -> RpcError:
    return RpcError(
        "download_failed",
        f"download of {source} failed: {reason}",
        {"source": source, "reason": reason, "resumable": resumable},
    )


def adapter_not_found(name: str, known: Iterable[str] = ()) -> RpcError:
    """`known`: the adapters that the model has."""
    names = ", ".join(known) or "none"
    return RpcError("adapter_not_found", f"no adapter {name!r}; this model has {names}", {"name": name})


def session_not_found(name: str) -> RpcError:
    problem = f"no session {name!r} (any more); sessions.create makes a new one"
    return RpcError("session_not_found", problem, {"name": name})


def session_busy(name: str) -> RpcError:
    """Another host that shares the sessions was faster."""
    problem = f"another chat went on with session {name!r} meanwhile; nothing was added, ask again"
    return RpcError("overloaded", problem, {"queue_depth": 1, "retry_after_s": 1.0})


def stream_not_found(name: str) -> RpcError:
    problem = f"no stream {name!r} (any more: they wait for their peers for a minute); make the request anew"
    return RpcError("stream_not_found", problem, {"name": name})


def rate_limited(
    retry_after_s: float, problem: str = "too many requests", limit: int | None = None
) -> RpcError:
    """`problem` says which limit was reached; `limit` is the one on requests a minute, where it was that."""
    return RpcError(
        "rate_limited",
        f"{problem}; try again in {retry_after_s:g} s",
        {"retry_after_s": retry_after_s} | ({} if limit is None else {"limit": limit}),
    )


def quota_exceeded(retry_after_s: float) -> RpcError:
    return RpcError(
        "quota_exceeded",
        f"the tokens of the day are used up; there are new ones in {retry_after_s:g} s",
        {"retry_after_s": retry_after_s},
    )


def overloaded(queue_depth: int, retry_after_s: float) -> RpcError:
    return RpcError(
        "overloaded",
        f"too much is waiting already ({queue_depth}); try again in {retry_after_s:g} s",
        {"queue_depth": queue_depth, "retry_after_s": retry_after_s},
    )


def timeout() -> RpcError:
    """Filled in like `cancelled`."""
    return RpcError("timeout", "the request took longer than its timeout", {"text": None, "usage": None})


def input_too_long(limit: int, *, tokens: int | None = None, bytes_: int | None = None) -> RpcError:
    """One of `tokens` and `bytes_` says how long the input is, in the unit of `limit`."""
    length, unit = (tokens, "tokens") if tokens is not None else (bytes_, "bytes")
    return RpcError(
        "input_too_long",
        f"the input has {length} {unit}, the limit is {limit}",
        {unit: length, "limit": limit},
    )


def content_rejected(rule: str) -> RpcError:
    return RpcError("content_rejected", f"refused by the content rule {rule!r}", {"rule": rule})


def shutting_down() -> RpcError:
    return RpcError("shutting_down", "the host is shutting down")


def worker_crashed(problem: str = "the model's worker process died", *, attempts: int = 1) -> RpcError:
    """`attempts` is how often the request was tried before this was said."""
    return RpcError("worker_crashed", f"{problem}{_tried(attempts)}", {"attempts": attempts})


def worker_crashed_again(last: RpcError, attempts: int) -> RpcError:
    """The last of several workers' deaths of one request, told with the number of attempts."""
    return worker_crashed(last.message.removesuffix(_tried(last.data["attempts"])), attempts=attempts)


def _tried(attempts: int) -> str:
    return f" (attempts: {attempts})"
