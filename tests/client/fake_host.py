"""A stand-in for the host, run as a child process: real frames on real pipes, answers made up on the spot.

It is here for what a real host cannot be made to do: lie in the handshake, leave gaps in a stream, damage a
long result, die at a given moment, never answer. Run by path; `--impostor` makes it guess the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
from pathlib import Path
from typing import Any

from native_host.protocol.frames import Frame, FrameDecoder, encode_frame

NONCE = bytes(range(32))
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 0}


class FakeHost:
    """Answers requests one by one; remembers what was cancelled."""

    def __init__(self) -> None:
        descriptor = os.environ.get("NATIVE_HOST_SECRET_FD")
        self.secret = os.fdopen(int(descriptor), "rb").read() if descriptor else None
        if "--impostor" in sys.argv:
            self.secret = b"a guess"
        self.cancelled: list[int] = []

    def run(self) -> None:
        frames = FrameDecoder(1 << 26)
        while data := os.read(0, 65536):
            for frame in frames.feed(data):
                assert isinstance(frame, Frame)
                self.handle(json.loads(frame.payload))

    def handle(self, message: dict[str, Any]) -> None:
        method, params = message["method"], message["params"]
        if method == "$/cancelRequest":
            self.cancelled.append(params["id"])
            error = {
                "code": -32800,
                "message": "cancelled",
                "data": {"kind": "cancelled", "text": "", "usage": None},
            }
            send(id=params["id"], error=error)
            return
        answer = getattr(self, "on_" + method.replace(".", "_"))
        answer(message["id"], params)

    def on_initialize(self, id_: int, params: dict[str, Any]) -> None:
        auth = {"required": self.secret is not None, "schemes": ["hmac-sha256"]}
        if self.secret is not None:
            auth["nonce"] = NONCE.hex()
        result = {
            "protocol_version": params["protocol_version"],
            "server": {"name": "fake", "version": "0", "pid": os.getpid()},
            "capabilities": {"methods": [], "notifications": []},
            "limits": {"max_frame_in": 1 << 26, "max_frame_out": 1 << 26, "max_batch": 64},
            "auth": auth,
        }
        send(id=id_, result=result)

    def on_authenticate(self, id_: int, params: dict[str, Any]) -> None:
        assert self.secret is not None
        theirs = bytes.fromhex(params["client_nonce"])
        expected = hmac.new(self.secret, b"native-host/1 client" + NONCE + theirs, hashlib.sha256).hexdigest()
        if params["mac"] != expected and "--impostor" not in sys.argv:
            send(id=id_, error={"code": -32001, "message": "wrong mac", "data": {"kind": "unauthenticated"}})
            return
        mac = hmac.new(self.secret, b"native-host/1 host" + theirs + NONCE, hashlib.sha256).hexdigest()
        send(id=id_, result={"mac": mac})

    def on_ping(self, id_: int, params: dict[str, Any]) -> None:
        send(id=id_, result={"pong": True, "uptime_s": 1.0})

    def on_echo(self, id_: int, params: dict[str, Any]) -> None:
        send(id=id_, result=params)

    def on_nothing(self, id_: int, params: dict[str, Any]) -> None:
        send(id=id_, result=None)

    def on_models_unload(self, id_: int, params: dict[str, Any]) -> None:
        send(id=id_, result=None)

    def on_cancellations(self, id_: int, params: dict[str, Any]) -> None:
        send(id=id_, result=self.cancelled)

    def on_descriptors(self, id_: int, params: dict[str, Any]) -> None:
        send(id=id_, result=len(list(Path("/proc/self/fd").iterdir())))

    def on_environment(self, id_: int, params: dict[str, Any]) -> None:
        send(id=id_, result=dict(os.environ))

    def on_chat(self, id_: int, params: dict[str, Any]) -> None:
        words = params["messages"][-1]["content"].split(" ")
        send(method="$/progress", params={"id": id_, "stage": "load", "fraction": 0.5, "message": "halfway"})
        for seq, word in enumerate(words):
            send(method="$/stream", params={"id": id_, "seq": seq, "text": word})
        if params.get("ignore_eos"):
            return  # goes on for ever, as far as anyone can tell
        self.finish(id_, message={"role": "assistant", "content": "".join(words)})

    def on_generate(self, id_: int, params: dict[str, Any]) -> None:
        if not params.get("ignore_eos"):
            self.finish(id_, text="ok")

    def on_tokenize(self, id_: int, params: dict[str, Any]) -> None:
        send(id=id_, result={"tokens": "not a list"})

    def on_gap(self, id_: int, params: dict[str, Any]) -> None:
        for seq in (0, 2):
            send(method="$/stream", params={"id": id_, "seq": seq, "text": "x"})
        send(id=id_, result=None)

    def on_long(self, id_: int, params: dict[str, Any]) -> None:
        whole = json.dumps(params["value"]).encode()
        parts = [whole[at : at + 1000] for at in range(0, len(whole), 1000)]
        for index, part in enumerate(parts):
            data = base64.b64encode(part).decode()
            send(method="$/chunk", params={"id": id_, "index": index, "of": len(parts), "data": data})
        sha256 = hashlib.sha256(whole + (b"!" if params.get("damage") else b"")).hexdigest()
        send(id=id_, result={"chunked": True, "chunks": len(parts), "sha256": sha256})

    def on_refuse(self, id_: int, params: dict[str, Any]) -> None:
        send(
            id=id_,
            error={
                "code": -32010,
                "message": "no model 'x'",
                "data": {"kind": "model_not_found", "model": "x"},
            },
        )

    def on_die(self, id_: int, params: dict[str, Any]) -> None:
        sys.stderr.write("first the boiler failed\nthen the engine\n")
        sys.stderr.flush()
        os._exit(7)

    def on_never(self, id_: int, params: dict[str, Any]) -> None:
        pass

    def on_babble(self, id_: int, params: dict[str, Any]) -> None:
        os.write(1, encode_frame(b"this is not JSON"))

    def finish(self, id_: int, **answer: object) -> None:
        send(
            id=id_,
            result={
                "model": "fake",
                "usage": USAGE,
                "timings": {},
                "seed": 1,
                "finish_reason": "stop",
                **answer,
            },
        )


def send(**members: object) -> None:
    os.write(1, encode_frame(json.dumps({"jsonrpc": "2.0", **members}).encode()))


if __name__ == "__main__":
    FakeHost().run()
