"""JSON-RPC 2.0 envelopes: bytes to calls, answers to bytes. Strict in what it reads, safe in what it writes.

Reading happens in three cheap steps: UTF-8, nesting, then a syntax check that leaves `params` undecoded; the
params are decoded once, into the method's own type, by `decode_params`. Writing refuses NaN and infinities,
which the encoder by itself would turn into null without a word.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.limits import MAX_BATCH, MAX_DEPTH, MAX_ID_BYTES
from native_host.protocol.nesting import deeper_than
from native_host.protocol.utf8 import utf8_problem

P = TypeVar("P")

NULL_ID = Raw(b"null")
_ABSENT = Raw(b"")
_IS_ARRAY = re.compile(rb"[ \t\r\n]*\[")


class Call(Struct, frozen=True):
    """A request, or a notification if `id` is None.

    `id` is the id as it was written, for the answer; `key` is its value, equal for ids that are the same.
    """

    method: str
    params: Raw
    id: Raw | None = None
    key: str | int | float | None = None


class BadCall(Struct, frozen=True):
    """What stands in place of a call that is none; `id` is null unless the call had a usable one."""

    error: RpcError
    id: Raw = NULL_ID


class Batch(Struct, frozen=True):
    """The members of a batch, in order."""

    members: list[Call | BadCall]


class _Envelope(Struct, forbid_unknown_fields=True):
    jsonrpc: Raw = _ABSENT
    method: Raw = _ABSENT
    params: Raw = _ABSENT
    id: Raw = _ABSENT


class _OnlyId(Struct):
    id: Raw = _ABSENT


_envelopes = msgspec.json.Decoder(_Envelope)
_only_ids = msgspec.json.Decoder(_OnlyId)
_ids = msgspec.json.Decoder(str | int | float | None)
_syntax = msgspec.json.Decoder(Raw)
_encoder = msgspec.json.Encoder()


def decode(payload: bytes | bytearray) -> Call | BadCall | Batch:
    """Read one frame's payload. Raises nothing, whatever a peer sends."""
    try:
        problem = utf8_problem(payload)
        if problem is None and deeper_than(payload, MAX_DEPTH):
            problem = f"nested deeper than {MAX_DEPTH}"
        if problem is not None:
            return BadCall(errors.parse_error(problem))
        if _IS_ARRAY.match(payload):
            return _decode_batch(payload)
        return _decode_call(payload)
    except RpcError as error:
        return BadCall(error)


def decode_params(raw: Raw, type_: type[P]) -> P:
    """Decode `params` into a method's type. Raises invalid_params: which member, and what is wrong."""
    try:
        return _params_decoder(type_).decode(b"{}" if raw is _ABSENT else raw)
    except msgspec.ValidationError as error:
        raise errors.invalid_params(*_explain(str(error))) from None
    except msgspec.DecodeError as error:
        raise errors.parse_error(str(error)) from None


def decode_document(payload: bytes | bytearray, type_: type[P]) -> P:
    """Decode a whole document that is no envelope, such as the body of an HTTP request, as strictly.

    Raises parse_error and invalid_params.
    """
    problem = utf8_problem(payload)
    if problem is None and deeper_than(payload, MAX_DEPTH):
        problem = f"nested deeper than {MAX_DEPTH}"
    if problem is not None:
        raise errors.parse_error(problem)
    try:
        return decode_params(Raw(payload), type_)
    except RecursionError as error:
        raise errors.parse_error(str(error)) from None


_params_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def _params_decoder(type_: type[P]) -> msgspec.json.Decoder[P]:
    """Built when a method is first called: most hosts never see most methods."""
    decoder = _params_decoders.get(type_)
    if decoder is None:
        decoder = _params_decoders[type_] = msgspec.json.Decoder(type_)
    return decoder


def _decode_call(payload: bytes | bytearray | Raw) -> Call | BadCall:
    try:
        envelope = _envelopes.decode(payload)
    except msgspec.ValidationError as error:
        _check_syntax(payload)
        problem = str(error).replace("Object contains unknown field", "unknown member")
        return BadCall(errors.invalid_request(problem), _find_id(payload))
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.parse_error(str(error)) from None
    try:
        id_, key = _read_id(envelope.id)
    except RpcError as error:
        return BadCall(error)
    try:
        if bytes(envelope.jsonrpc) != b'"2.0"':
            raise errors.invalid_request('`jsonrpc` must be "2.0"')
        if _first(envelope.params) not in (b"{", b"[", b""):
            raise errors.invalid_request("`params` must be an object")
        return Call(_read_method(envelope.method), envelope.params, id_, key)
    except RpcError as error:
        return BadCall(error, NULL_ID if id_ is None else id_)


def _check_syntax(payload: bytes | bytearray | Raw) -> None:
    """A wrong shape was found before the end was read: what follows may not even be JSON."""
    try:
        _syntax.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.parse_error(str(error)) from None


def _first(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _find_id(payload: bytes | bytearray | Raw) -> Raw:
    """The id of what is JSON but no request, if it has a usable one."""
    try:
        return _read_id(_only_ids.decode(payload).id)[0] or NULL_ID
    except (msgspec.ValidationError, RpcError):
        return NULL_ID


def _read_method(raw: Raw) -> str:
    if _first(raw) != b'"':
        raise errors.invalid_request("`method` must be a string")
    return msgspec.json.decode(raw, type=str)


def _read_id(raw: Raw) -> tuple[Raw | None, str | int | float | None]:
    """The id for the answer and its value; None for a call without one."""
    if raw is _ABSENT:
        return None, None
    if memoryview(raw).nbytes > MAX_ID_BYTES:
        raise errors.invalid_request(f"an id has at most {MAX_ID_BYTES} bytes")
    try:
        return Raw(bytes(raw)), _ids.decode(raw)
    except msgspec.DecodeError:
        raise errors.invalid_request("an id must be a string, a number or null") from None


@lru_cache(maxsize=1)
def _batch_decoder() -> msgspec.json.Decoder[Any]:
    """Decodes an array of at most MAX_BATCH members and stops at the first one too many: a long array of tiny
    members would otherwise cost many times its own size."""
    fields: list[tuple[str, type, Any]] = [(f"m{n}", Raw, _ABSENT) for n in range(MAX_BATCH)]
    shape = msgspec.defstruct("_Members", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(shape)


def _decode_batch(payload: bytes | bytearray) -> Batch:
    try:
        found = msgspec.structs.astuple(_batch_decoder().decode(payload))
    except msgspec.ValidationError:
        _check_syntax(payload)
        raise errors.batch_too_large(MAX_BATCH) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.parse_error(str(error)) from None
    members = [raw for raw in found if raw is not _ABSENT]
    if not members:
        raise errors.invalid_request("an empty batch")
    return Batch([_decode_member(raw) for raw in members])


def _decode_member(raw: Raw) -> Call | BadCall:
    try:
        return _decode_call(raw)
    except RpcError as error:
        return BadCall(error)


_PATH = re.compile(r" - at (?:`key` in )?`\$(.*)`$")
_MEMBER = re.compile(r"^Object (contains unknown|missing required) field `(.*?)`")


def _explain(text: str) -> tuple[str, str]:
    """Split what the decoder says into the member's path and the problem."""
    at = _PATH.search(text)
    path = at.group(1).removeprefix(".") if at else ""
    problem = text[: at.start()] if at else text
    if member := _MEMBER.match(problem):
        path = f"{path}.{member.group(2)}" if path else member.group(2)
        problem = "unknown member" if member.group(1) == "contains unknown" else "is required"
    return path, problem


def encode_value(value: object) -> bytes:
    """JSON of a result or of params. Raises ValueError for NaN, infinities and text that is no Unicode."""
    encoded = _encoder.encode(value)
    if b"null" in encoded and not _is_finite(value):
        raise ValueError("NaN or an infinity has no place in JSON")
    return encoded


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, Struct):
        return all(_is_finite(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, dict):
        return all(_is_finite(member) for member in value.values())
    if isinstance(value, list | tuple):
        return all(_is_finite(member) for member in value)
    return True


def encode_result(id_: Raw, result: bytes) -> bytes:
    """The answer to the request `id_`; `result` comes from `encode_value`."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (bytes(id_), result)


def encode_error(id_: Raw, error: RpcError, frame: int | None = None) -> bytes:
    """The error answer. `frame` is the number of the frame at fault: told where there is no id to go to, and
    with every parse_error."""
    tells = frame is not None and (bytes(id_) == b"null" or error.kind == "parse_error")
    data = {**error.data, "frame": frame} if tells else error.data
    body = encode_value({"code": error.code, "message": error.message, "data": data})
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (bytes(id_), body)


def encode_notification(method: str, params: object) -> bytes:
    """A notification; `params` is a Struct or a dict."""
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (_encoder.encode(method), encode_value(params))


def encode_batch(answers: list[bytes]) -> bytes:
    """The answers of a batch, as one document."""
    return b"[" + b",".join(answers) + b"]"
