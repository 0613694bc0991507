"""A STAND-IN for `llama-server`, for the tests that must not wait for it to be built: it has no model.

It answers as the server of llama-cpp-python 0.3.36's sources was seen to answer. Its tokens are bytes, 0 ends
a text, and it continues a prompt with what stands between `[` and `]` in it, over and over after `[]`.
`TEST_STAND_IN_OLD=1` makes it an old build: no Unix sockets, no templates.
"""

from __future__ import annotations

import argparse
import json
import os
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

OLD = os.environ.get("TEST_STAND_IN_OLD") == "1"
SLOT_CONTEXT = 256
ENDLESS = "on and on "


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "-"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif not self.allowed():
            pass
        elif self.path == "/props":
            template = {} if OLD else {"chat_template": "yes"}
            self.answer(
                200,
                {
                    "default_generation_settings": {"n_ctx": SLOT_CONTEXT},
                    "build_info": "stand-in",
                    **template,
                },
            )
        else:
            self.answer(200, {"data": [{"meta": {"n_vocab": 256, "n_ctx_train": 512, "n_embd": 8}}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if self.path == "/tokenize":
            self.answer(200, {"tokens": list(body["content"].encode())})
        elif self.path == "/detokenize":
            self.answer(200, {"content": bytes(body["tokens"]).decode(errors="replace")})
        elif self.path == "/apply-template" and not OLD:
            self.answer(200, {"prompt": "".join(each["content"] for each in body["messages"])})
        elif self.path == "/completion":
            self.complete(body)
        else:
            self.refuse(404, "not_found_error", "File Not Found")

    def allowed(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {os.environ['LLAMA_API_KEY']}":
            return True
        self.refuse(401, "authentication_error", "Invalid API Key")
        return False

    def complete(self, body: dict[str, Any]) -> None:
        prompt = bytes(body["prompt"]).decode()
        if prompt == "die":
            os._exit(7)
        if prompt == "what?":
            self.refuse(400, "invalid_request_error", "no such prompt")
            return
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if prompt == "tell":
            self.tell([json.dumps({key: body[key] for key in sorted(body) if key != "prompt"})], body)
            return
        inner = prompt.partition("[")[2].partition("]")[0]
        if inner or "[" not in prompt:
            self.tell(list(inner), body)
            return
        while True:  # until the connection is closed
            self.part(ENDLESS, 65, body)
            time.sleep(0.001)  # a token's time

    def tell(self, texts: list[str], body: dict[str, Any]) -> None:
        at_limit = len(texts) >= body["n_predict"]
        for text in texts[: body["n_predict"]]:
            self.part(text, text.encode()[0], body)
        if not at_limit:
            self.part("", 0, body)
        end = {"content": "", "tokens": [], "stop": True, "stop_type": "limit" if at_limit else "eos"}
        self.event({**end, "timings": {"cache_n": 3 if body["cache_prompt"] else 0}})

    def part(self, text: str, token: int, body: dict[str, Any]) -> None:
        said: dict[str, Any] = {"content": text, "tokens": [token], "stop": False}
        if body.get("n_probs"):
            own = {"id": token, "token": text, "logprob": -0.5}
            said["completion_probabilities"] = [{**own, "top_logprobs": [own, {**own, "id": 9}]}]
        self.event(said)

    def event(self, said: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(said)}\n\n".encode())

    def refuse(self, status: int, kind: str, message: str) -> None:
        self.answer(status, {"error": {"code": status, "message": message, "type": kind}})

    def answer(self, status: int, said: dict[str, Any]) -> None:
        payload = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class LoopbackServer(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True


def main() -> None:
    if "--help" in sys.argv:
        sys.stdout.write(
            "--host HOST   an address" + ("" if OLD else ", or a path that ends in .sock") + "\n"
        )
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int)
    known, _ = parser.parse_known_args()
    if "--cache-type-k" in sys.argv and "f32" in sys.argv:
        sys.exit("a build that knows no such type")
    server = LoopbackServer((known.host, known.port), Handler) if OLD else UnixServer(known.host, Handler)
    server.serve_forever()


if __name__ == "__main__":
    main()
