"""`/`: the page's files, with headers that let nothing in from elsewhere."""

from __future__ import annotations

import httpx
import pytest

from native_host.guard.keys import KeyStore
from native_host.settings import Settings
from native_host.transports.gateway import page

from .conftest import ToyGateway

PATHS = page.files(page.folder())


def client(toy: ToyGateway) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=toy.url, timeout=60)


async def test_every_file_is_served_to_those_who_have_no_key_yet() -> None:
    async with ToyGateway(Settings(), KeyStore(single="secret-key")) as toy, client(toy) as http:
        for path, file in PATHS.items():
            answer = await http.get(path)
            assert (answer.status_code, answer.content) == (200, file.read_bytes())
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "'unsafe" not in answer.headers["content-security-policy"]
            assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_types(toy: ToyGateway) -> None:
    async with client(toy) as http:
        for path, type_ in (
            ("/", "text/html; charset=utf-8"),
            ("/page/page.js", "text/javascript; charset=utf-8"),
            ("/page/page.css", "text/css; charset=utf-8"),
            ("/page/icon.svg", "image/svg+xml"),
        ):
            assert (await http.get(path)).headers["content-type"] == type_


async def test_a_known_version_is_not_sent_again(toy: ToyGateway) -> None:
    async with client(toy) as http:
        first = await http.get("/client.js")
        again = await http.get("/client.js", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/package.json", "/tsconfig.json", "/page/", "/page/../package.json", "/%2e%2e/pyproject.toml"]
)
async def test_nothing_else_is(toy: ToyGateway, path: str) -> None:
    async with client(toy) as http:
        assert (await http.get(path)).status_code == 404
