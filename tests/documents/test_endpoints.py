"""docs/endpoints.md lists every route, and the test in which a real client asks it."""

from __future__ import annotations

import ast
import re

import msgspec
import pytest
from starlette.routing import BaseRoute, Route, WebSocketRoute

from native_host.settings import Settings
from native_host.transports.gateway import docs, page
from native_host.transports.gateway.app import ROUTERS
from native_host.transports.gateway.authentication import Authentication
from native_host.transports.gateway.gateway import Gateway
from native_host.transports.gateway.openapi import Description
from native_host.transports.host import Host

from .fences import ROOT


class Nobody:
    """There for its routes only."""

    async def handle(self, *_: object) -> object:
        raise NotImplementedError


class Row(msgspec.Struct, frozen=True):
    """Endpoints (`GET /health`), the package of the client, and the test."""

    endpoints: tuple[str, ...]
    client: str
    test: str


def rows() -> list[Row]:
    text = (ROOT / "docs" / "endpoints.md").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        if line.startswith("| `"):
            endpoints, client, test = (cell.strip() for cell in line.strip("|").split("|"))
            names = tuple(re.findall(r"`([A-Z]+ /[^`]*)`", endpoints))
            found.append(Row(names, client, test.strip("`")))
    return found


def routes() -> list[BaseRoute]:
    host = Host(Nobody(), Settings())
    gateway = Gateway(host, Authentication(host))
    found = [route for router in ROUTERS for route in router(gateway).routes]
    return [*found, *docs.router(gateway, Description(found)).routes]


def names(route: BaseRoute) -> set[str]:
    if isinstance(route, WebSocketRoute):
        return {f"WS {route.path}"}
    assert isinstance(route, Route)
    return {f"{method} {route.path_format}" for method in route.methods or ()}


ROWS = rows()


def test_every_route_is_listed_once_and_nothing_else() -> None:
    listed = [endpoint for row in ROWS for endpoint in row.endpoints]
    assert len(listed) == len(set(listed))
    parts_of_the_page = {f"GET {path}" for path in page.files(page.folder()) if path != "/"}
    assert set(listed) == set().union(*map(names, routes())) - parts_of_the_page


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.endpoints[0])
def test_the_test_is_there_and_has_a_real_client(row: Row) -> None:
    file, _, function = row.test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert function in defined
    imported = {
        node.module.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
    }
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert row.client in imported
