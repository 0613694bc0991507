"""The document that describes the HTTP API: each operation is tried with what the document allows and with
what it does not, and each example is sent as it stands.

NATIVE_HOST_API_EXAMPLES=200 makes it thorough; a few are enough to see that nothing is out of step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from end_to_end.conftest import make_model
from hypothesis import HealthCheck, Phase, given, settings
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
from native_host.transports.gateway.openapi import Description
from native_host.transports.host import Host

from .spawning import Served, served

EXAMPLES = int(os.environ.get("NATIVE_HOST_API_EXAMPLES", "4"))
TELEGRAM_SECRET = "a-secret-of-the-webhook"
HEADERS = {"X-Telegram-Bot-Api-Secret-Token": TELEGRAM_SECRET}
"""Only the webhook asks for it."""
FAULTS = {"internal_error", "worker_crashed"}
"""What must never be answered; other errors of a server (no such feature, no memory) are in the document."""


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
    (path, operation["post"]["requestBody"]["content"]["application/json"]["example"])
    for path, operation in DOCUMENT["paths"].items()
    if "post" in operation
]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that writes a few tokens at most, whatever it is asked for."""
    folder = tmp_path_factory.mktemp("limited")
    make_model(folder / "tiny.gguf", "tiny")
    file = folder / "models.json"
    models = {"tiny": {"type": "gguf", "path": "tiny.gguf", "threads": 1}}
    file.write_text(json.dumps({"default": "tiny", "models": models}))
    environment = {"MAX_TOKEN_LIMIT": "8", "NATIVE_HOST_TELEGRAM_SECRET": TELEGRAM_SECRET}
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
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(mode))
    def holds(case: Case[Any]) -> None:
        response = case.call(base_url=limited.url, timeout=100, headers=HEADERS)
        case.validate_response(
            response, checks=[status_code_conformance, content_type_conformance, response_schema_conformance]
        )
        assert not any(fault in response.text for fault in FAULTS), response.text

    holds()


@pytest.mark.parametrize(("path", "example"), BODIES)
def test_examples_work_as_they_stand(limited: Served, path: str, example: dict[str, object]) -> None:
    mine = {name: "tiny" if value == "tabagent-demo" else value for name, value in example.items()}
    answer = httpx.post(limited.url + path, json=mine, timeout=100, headers=HEADERS)
    if "rerank" in path:  # no model here ranks
        assert answer.status_code == 501
    else:
        assert answer.status_code == 200, answer.text


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
