"""The client in a real Chromium, at a host that wants the shared secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway.spawning import Served, served
from playwright.sync_api import BrowserContext

SECRET = "the parent's secret"
BY_WEBSOCKET = """async (secret) => {
    const { Client, webSocketPort } = await import("/client.js");
    const credentials = async (failure) => (failure ? null : { secret });
    const address = location.origin.replace("http", "ws") + "/ws";
    const who = { name: "test", version: "1" };
    const client = new Client(webSocketPort(address), { client: who, credentials });
    try {
        return (await client.call("ping", {})).pong;
    } catch (error) {
        return error.kind;
    } finally {
        client.close();
    }
}"""
BY_FETCH = """async (secret) => {
    const { signRequest } = await import("/client.js");
    const body = JSON.stringify({ prompt: "A worker is", max_tokens: 2 });
    const target = "/api/v1/generate?signed=yes";
    const headers = { Authorization: await signRequest(secret, "POST", target, body) };
    const ask = async () => (await fetch(target, { method: "POST", body, headers })).status;
    return [await ask(), await ask()];
}"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    with served(environment={"NATIVE_HOST_SECRET": SECRET}, open_loopback=False) as found:
        yield found


def test_who_knows_the_secret_comes_in(context: BrowserContext, guarded: Served) -> None:
    page = context.new_page()
    page.goto(f"{guarded.url}/docs")
    assert page.evaluate(BY_WEBSOCKET, SECRET) is True
    assert page.evaluate(BY_WEBSOCKET, "another secret") == "locked"
    assert page.evaluate(BY_FETCH, SECRET) == [200, 401]  # a signature serves once
    assert page.evaluate(BY_FETCH, "another secret") == [401, 401]
