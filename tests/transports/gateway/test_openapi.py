"""The document that describes the HTTP API: each operation is tried with what the document allows and with
what it does not, and each example is sent as it stands.

NATIVE_HOST_API_EXAMPLES=200 makes it thorough, NATIVE_HOST_API_SEED=1 tries others; a few are enough to see
that nothing is out of step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from end_to_end.conftest import make_model
from hypothesis import HealthCheck, Phase, given, seed, settings
from jsonschema import Draft202012Validator
from schemathesis import Case, GenerationMode
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from native_host.settings import Settings
from native_host.transports.gateway.app import ROUTERS
from native_host.transports.gateway.authentication import Authentication
from native_host.transports.gateway.gateway import Gateway
from native_host.transports.gateway.openapi import MODEL, Description
from native_host.transports.host import Host

from .spawning import Served, served

EXAMPLES = int(os.environ.get("NATIVE_HOST_API_EXAMPLES", "4"))
SEED = int(os.environ.get("NATIVE_HOST_API_SEED", "0"))
TELEGRAM_SECRET = "a-secret-of-the-webhook"
HEADERS = {"X-Telegram-Bot-Api-Secret-Token": TELEGRAM_SECRET}
"""Only the webhook asks for it."""
TOLD_APART = {501, 502, 504, 507}
"""No such feature, a download that failed, no time, no memory: what a host is asked for and cannot do.
Nothing sent to it may bring about any other error of a server.
"""
SENDS_MORE = ("/api/v1/webhooks/telegram",)
"""Telegram's updates hold more than is read of them."""

schemathesis.serializer.alias("message/rfc822", "text/plain")


class Nobody:
    """There for its routes only."""

    async def handle(self, *_: object) -> object:
        raise NotImplementedError


def described() -> dict[str, Any]:
    host = Host(Nobody(), Settings())
    gateway = Gateway(host, Authentication(host))
    return Description([route for router in ROUTERS for route in router(gateway).routes]).document


DOCUMENT = described()
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
BODIES = [
    (path, method, media_type)
    for path, method in OPERATIONS
    for media_type in DOCUMENT["paths"][path][method].get("requestBody", {}).get("content", ("",))
]
"""What each operation can be sent, by its media type; empty for no body."""
STREAMS = [
    (path, media_type)
    for path, method in OPERATIONS
    for media_type in DOCUMENT["paths"][path][method]["responses"]["200"]["content"]
    if media_type in ("text/event-stream", "application/x-ndjson")
]


@pytest.fixture(scope="module")
def limited(reranker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that writes a few tokens at most, whatever it is asked for. What is pulled is its own."""
    folder = tmp_path_factory.mktemp("limited")
    make_model(folder / "tiny.gguf", "tiny")
    file = folder / "models.json"
    models = {
        name: {"type": "gguf", "path": str(path), "threads": 1}
        for name, path in {"tiny": "tiny.gguf", "reranker": reranker}.items()
    }
    file.write_text(json.dumps({"default": "tiny", "models": models}))
    environment = {"MAX_TOKEN_LIMIT": "8", "NATIVE_HOST_TELEGRAM_SECRET": TELEGRAM_SECRET}
    for name in ("CONFIG", "CACHE", "DATA"):
        environment[f"XDG_{name}_HOME"] = str(folder / name.lower())
    with served(file, environment=environment) as found:
        yield found


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_operation_is_out_of_step(limited: Served, path: str, method: str, mode: GenerationMode) -> None:
    if mode is GenerationMode.NEGATIVE and "requestBody" not in DOCUMENT["paths"][path][method]:
        return  # there is nothing to get wrong
    operation = from_dict(DOCUMENT)[path][method.upper()]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(SEED)
    @given(operation.as_strategy(mode))
    def tried(case: Case[Any]) -> None:
        response = case.call(base_url=limited.url, timeout=100, headers=HEADERS)
        case.validate_response(
            response, checks=[status_code_conformance, content_type_conformance, response_schema_conformance]
        )
        assert response.status_code < 500 or response.status_code in TOLD_APART, response.text

    tried()


def closed(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """The same where an object may have no member that is not written down."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: each if name == "example" else closed(each) for name, each in schema.items()}
    return {"additionalProperties": False, **found} if isinstance(schema.get("properties"), dict) else found


STRICT = closed(DOCUMENT)


def holds(value: object, content: dict[str, Any], within: dict[str, Any] = STRICT) -> None:
    """Whether it is what a body or an answer is said to be, and nothing beside it."""
    Draft202012Validator({**content["schema"], "components": within["components"]}).validate(value)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_has_sound_examples(path: str, method: str) -> None:
    operation = STRICT["paths"][path][method]
    for media_type, content in operation["responses"]["200"]["content"].items():
        assert "schema" in content or media_type == "text/event-stream"
        if "schema" in content:
            holds(content["example"], content)
    body = operation.get("requestBody", {"content": {}})
    assert body["content"] or method == "get"
    within = DOCUMENT if path in SENDS_MORE else STRICT
    for content in body["content"].values():
        holds(content["example"], content, within)


@pytest.mark.parametrize("name", DOCUMENT["components"]["responses"])
def test_every_error_has_a_sound_example(name: str) -> None:
    [content] = DOCUMENT["components"]["responses"][name]["content"].values()
    holds(content["example"], content, DOCUMENT)  # an error brings what its kind has to tell


def sent(url: str, path: str, method: str, media_type: str, **changes: object) -> httpx.Response:
    """The answer to an operation's example, with a model that is there."""
    headers = {**HEADERS, "Accept": str(changes.pop("accept", "*/*"))}
    body = b""
    if media_type:
        headers["Content-Type"] = media_type
        body = DOCUMENT["paths"][path][method]["requestBody"]["content"][media_type]["example"]
        if isinstance(body, dict):
            mine = {name: "tiny" if value == MODEL else value for name, value in body.items()}
            body = json.dumps({**mine, **changes}).encode()
    address = url + path.replace("{name}", "tiny")
    return httpx.request(method, address, content=body, headers=headers, timeout=100)


@pytest.mark.parametrize(("path", "method", "media_type"), BODIES)
def test_examples_work_as_they_stand(
    limited: Served, path: str, method: str, media_type: str, tmp_path: Path
) -> None:
    if path == "/api/delete":
        make_model(tmp_path / "some-model.gguf", "tiny")
        pulled = {"model": f"file:{tmp_path / 'some-model.gguf'}", "stream": False}
        assert httpx.post(f"{limited.url}/api/pull", json=pulled, timeout=100).status_code == 200
    answer = sent(limited.url, path, method, media_type)
    assert answer.status_code == 200, answer.text
    content = STRICT["paths"][path][method]["responses"]["200"]["content"]
    found = answer.headers["content-type"].partition(";")[0]
    holds(answer.json() if found == "application/json" else answer.text, content[found])


def members(stream: str) -> list[frozenset[str]]:
    """The members of each event or line."""
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line]
    return [frozenset(json.loads(line)) if line != "[DONE]" else frozenset() for line in lines]


@pytest.mark.parametrize(("path", "media_type"), STREAMS)
def test_streams_are_like_their_examples(limited: Served, path: str, media_type: str) -> None:
    operation = DOCUMENT["paths"][path]["post"]
    accept = path == "/api/v1/models/load"
    streaming: dict[str, object] = {"accept": media_type} if accept else {"stream": True}
    answer = sent(limited.url, path, "post", "application/json", **streaming)
    assert answer.headers["content-type"].partition(";")[0] == media_type
    example = members(operation["responses"]["200"]["content"][media_type]["example"])
    found = members(answer.text)
    assert set(found) <= set(example)
    assert found[-1] == example[-1]


def test_the_document_and_the_page(limited: Served) -> None:
    served_document = httpx.get(f"{limited.url}/openapi.json", timeout=100).json()
    assert served_document == json.loads(json.dumps(DOCUMENT))
    page = httpx.get(f"{limited.url}/docs", timeout=100)
    assert "script" not in page.headers["content-security-policy"].replace("script-src 'self'", "").replace(
        "require-trusted-types-for 'script'", ""
    )
    assert "<script" not in page.text
    for path, _ in OPERATIONS:
        assert path in page.text
    assert httpx.get(f"{limited.url}/docs.css", timeout=100).headers["content-type"].startswith("text/css")
