"""A host for what a real one cannot be made to do. Usage: fake_host.py WAY

It shakes hands as a real one does, knows the secret, and then goes wrong in the WAY that is asked for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import struct
import sys
import threading

WAY = sys.argv[1]
PIECES = 5000


def main() -> None:
    if WAY == "exit":
        sys.exit("the disk is full")
    if WAY == "garbage":
        say(b"Hello, this is no frame\n")
    secret = read_secret()
    nonce = os.urandom(32)
    while True:
        request = read_frame()
        if request is None:
            break
        if WAY != "hang":
            answer(request, secret, nonce)
    if WAY == "stays":
        threading.Event().wait()


def answer(request: dict, secret: bytes, nonce: bytes) -> None:
    method, request_id = request["method"], request.get("id")
    if method == "initialize":
        initialize(request_id, nonce)
    elif method == "authenticate":
        ours = b"another secret!!" if WAY == "liar" else secret
        theirs = bytes.fromhex(request["params"]["client_nonce"])
        if not hmac.compare_digest(request["params"]["mac"], mac(secret, b"client", nonce, theirs)):
            sys.exit("the client does not know the secret")
        result(request_id, {"mac": mac(ours, b"host", theirs, nonce)})
    elif method == "ping":
        if WAY != "no-pings":
            result(request_id, {"pong": True, "uptime_s": 1.0})
    elif method == "generate":
        generate(request_id)
    elif method == "shutdown":
        result(request_id, None)


def initialize(request_id: int, nonce: bytes) -> None:
    if WAY == "refuses-version":
        text = "protocol version '1' is not spoken here (2 is): update the client"
        data = {"kind": "unsupported_protocol", "supported": ["2"]}
        send({"jsonrpc": "2.0", "id": request_id, "error": {"code": -32004, "message": text, "data": data}})
        return
    told = {
        "protocol_version": "2" if WAY == "other-version" else "1",
        "server": {"name": "fake", "version": "9", "pid": os.getpid(), "mood": "good"},
        "capabilities": {"methods": [], "notifications": []},
        "limits": {"max_frame_in": 10_000, "max_frame_out": 1_000_000, "max_batch": 1},
        "auth": {"required": True, "schemes": ["hmac-sha256"], "nonce": nonce.hex()},
    }
    result(request_id, told)


def generate(request_id: int) -> None:
    if WAY == "newer":
        notify("$/brandNew", {"id": request_id})
        notify("$/stream", {"id": request_id, "seq": 0, "text": "all of it", "colour": "blue"})
        result(request_id, {**whole("all of it"), "finish_reason": "bored", "colour": "blue"})
    elif WAY == "gap":
        notify("$/stream", {"id": request_id, "seq": 0, "text": "one"})
        notify("$/stream", {"id": request_id, "seq": 2, "text": "three"})
    elif WAY == "flood":
        for seq in range(PIECES):
            notify("$/stream", {"id": request_id, "seq": seq, "text": "x" * 100})
        result(request_id, whole("x" * 100 * PIECES))
    elif WAY == "progress-flood":
        for number in range(PIECES):
            notify("$/progress", {"id": request_id, "stage": "load", "message": str(number)})
        result(request_id, whole("all of it"))
    elif WAY == "damaged-parts":
        data = base64.b64encode(json.dumps(whole("all of it")).encode()).decode()
        notify("$/chunk", {"id": request_id, "index": 0, "of": 1, "data": data})
        result(request_id, {"chunked": True, "chunks": 1, "sha256": hashlib.sha256(b"else").hexdigest()})
    elif WAY == "garbage-later":
        say(b"Traceback (most recent call last)\n")
    elif WAY == "too-long":
        say(struct.pack("=I", 0xF0F0F0F0))
    else:
        result(request_id, whole("all of it"))


def whole(text: str) -> dict:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0}
    answer = {"text": text, "finish_reason": "stop", "model": "fake", "usage": usage, "timings": {}}
    return {**answer, "seed": 1}


def mac(secret: bytes, side: bytes, first: bytes, second: bytes) -> str:
    return hmac.digest(secret, b"native-host/1 " + side + first + second, "sha256").hex()


def read_secret() -> bytes:
    with os.fdopen(int(os.environ["NATIVE_HOST_SECRET_FD"]), "rb") as pipe:
        return pipe.read()


def read_frame() -> dict | None:
    prefix = sys.stdin.buffer.read(4)
    if len(prefix) < 4:
        return None
    (length,) = struct.unpack("=I", prefix)
    return json.loads(sys.stdin.buffer.read(length))


def notify(method: str, params: dict) -> None:
    send({"jsonrpc": "2.0", "method": method, "params": params})


def result(request_id: int, value: object) -> None:
    send({"jsonrpc": "2.0", "id": request_id, "result": value})


def send(message: dict) -> None:
    payload = json.dumps(message).encode()
    say(struct.pack("=I", len(payload)) + payload)


def say(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


main()
