"""DNS rebinding, foreign pages, CORS, forwarded addresses and broken requests, against a real `serve --http`
that is open to this machine's programs: the case where nothing but these headers keeps a web page out.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from native_host.guard.keys import KeyStore
from native_host.settings import Settings

from .conftest import ToyGateway
from .raw_http import Raw, ask, send
from .spawning import served

PAGE = "https://page.example.com"
EXTENSION = "chrome-extension://abcdefghijklmnopabcdefghijklmnop"
POST = b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
NAME = "ai.example.com"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where an open gateway answers, which knows one more name, one page and one extension."""
    environment = {
        "NATIVE_HOST_ALLOWED_HOSTS": NAME,
        "NATIVE_HOST_CORS_ORIGINS": f"{PAGE}, {EXTENSION}",
    }
    with served(environment=environment) as found:
        yield found.url


def port(url: str) -> int:
    found = urlsplit(url).port
    assert found is not None
    return found


def refused(answer: Raw, told: str = "") -> None:
    assert (answer.status, answer.kind) == (403, "permission_denied"), answer
    assert told in answer.json["error"]["message"]
    assert "access-control-allow-origin" not in answer.headers
    assert b'"data"' not in answer.body


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "127.0.0.1", "[::1]:{port}", NAME, f"{NAME}:443"],
)
def test_names_of_this_host_are_answered(url: str, host: str) -> None:
    assert ask(url, host=host.format(port=port(url))).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1.nip.io:{port}",
        "7f000001.rebind.example",
        f"{NAME}.evil.example",
        f"evil-{NAME}",
        "localhost.:{port}",
        "127.1:{port}",
        "2130706433:{port}",
        "0x7f.0.0.1",
        "0.0.0.0:{port}",
        "[::]:{port}",
        "192.168.0.1",
        "[fe80::1]",
        "evil.example@127.0.0.1:{port}",
        "127.0.0.1:{port}@evil.example",
        "127.0.0.1:{port}, evil.example",
        "127.0.0.1:{port}/",
        "127.0.0.1:port",
        "127.0.0.1:99999",
        "ｌｏｃａｌｈｏｓｔ",
        "*",
    ],
)
@pytest.mark.parametrize("target", ["/v1/models", "/health"])
def test_rebound_names_are_refused(url: str, host: str, target: str) -> None:
    refused(ask(url, target, host=host.format(port=port(url))))


def test_a_request_has_one_host(url: str) -> None:
    refused(ask(url, host=None), "one Host header")
    refused(ask(url, headers=[("Host", "evil.example")]), "one Host header")
    refused(ask(url, headers=[("Host", urlsplit(url).netloc)]), "one Host header")


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-Host"])
def test_names_in_other_headers_change_nothing(url: str, name: str) -> None:
    value = "host=localhost" if name == "Forwarded" else "localhost"
    refused(ask(url, headers=[(name, value)], host="evil.example"))


def test_a_whole_address_in_the_first_line_does_not_stand_for_the_host(url: str) -> None:
    assert ask(url, "http://127.0.0.1/v1/models", host="evil.example").status == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("origin", ["own", "tls", PAGE, EXTENSION])
def test_pages_that_may_ask_are_answered(url: str, method: str, origin: str) -> None:
    own = {"own": url, "tls": url.replace("http", "https")}
    asked = own.get(origin, origin)
    target = "/v1/models" if method == "GET" else "/v1/completions"
    answer = ask(url, target, [("Origin", asked)], method=method, body=b"" if method == "GET" else b"{}")
    assert answer.status == (200 if method == "GET" else 422)
    listed = origin in (PAGE, EXTENSION)
    assert answer.headers.get("access-control-allow-origin") == (origin if listed else None)
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "http://127.0.0.1:{port}.evil.example",
        "http://evil.example:{port}",
        "http://127.0.0.1:{port}@evil.example",
        "http://evil.example/127.0.0.1:{port}",
        "http://127.0.0.1:{port}/",
        "ftp://127.0.0.1:{port}",
        "file://",
        "https://page.example.com.evil.example",
        "https://evilpage.example.com",
        "https://page.example.com:8443",
        "http://page.example.com",
        "https://PAGE.example.com",
        "https://page.example.com, https://evil.example",
        "https://page.example.com https://evil.example",
        "chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba",
        "moz-extension://abcdefghijklmnopabcdefghijklmnop",
        "*",
    ],
)
def test_pages_of_others_are_refused(url: str, origin: str, method: str) -> None:
    refused(ask(url, headers=[("Origin", origin.format(port=port(url)))], method=method))


def test_a_request_has_one_origin_at_most(url: str) -> None:
    refused(ask(url, headers=[("Origin", PAGE), ("Origin", "https://evil.example")]), "one Origin")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_changes_nothing(url: str, site: str) -> None:
    """Without an Origin, which some browsers once left out of forms."""
    body = b'{"prompt": "hello"}'
    form = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate")]
    refused(ask(url, "/api/v1/generate", form, method="POST", body=body), "another site")
    assert ask(url, "/health", form).status == 200


def test_a_preflight_is_answered_to_listed_pages_only(url: str) -> None:
    asked = [
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type, x-api-key"),
        ("Access-Control-Request-Private-Network", "true"),
    ]
    allowed = ask(url, "/v1/chat/completions", [("Origin", PAGE), *asked], method="OPTIONS")
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "x-api-key" in allowed.headers["access-control-allow-headers"]
    assert allowed.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in allowed.headers
    assert "Origin" in allowed.headers["vary"]
    refused(ask(url, "/v1/chat/completions", [("Origin", "https://evil.example"), *asked], method="OPTIONS"))


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: +2\r\n\r\n{}",
        POST + b"Content-Length: 0x2\r\n\r\n{}",
        POST + b"Content-Length: 2, 2\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        POST + b"Content-Length:\r\n\r\n",
        POST + b"Content-Length: 99999999999999999999\r\n\r\n{}",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
        (GET + b"\r\n").replace(b"\r\n", b"\n"),
        b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost@evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        GET + b"X : y\r\n\r\n",
        GET + b"\x01: y\r\n\r\n",
        GET + b"X: a\rb\r\n\r\n",
        GET + b"X: a\0b\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_requests_that_two_programs_could_read_in_two_ways_are_refused(url: str, request_: bytes) -> None:
    answer = send(url, request_)
    assert answer.status == 400
    assert b'"data"' not in answer.body


def test_a_whole_address_may_stand_for_a_path(url: str) -> None:
    assert send(url, GET.replace(b"/v1", b"http://LOCALHOST/v1") + b"Connection: close\r\n\r\n").status == 200


FLOOD = 65 * 1024
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /" + b"a" * FLOOD,
        GET + b"X: " + b"a" * FLOOD,
        GET + b"a" * FLOOD,
        GET + b"X: a\r\n" * (FLOOD // 6),
        GET + b"X: " + b"a" * FLOOD + b"\r\n\r\n",
        CHUNKED + b"X: " + b"a" * FLOOD * 8,
        CHUNKED + b"X: a\r\n" * (FLOOD // 2),
    ],
    ids=["address", "value", "name", "headers", "finished", "behind a body", "headers behind a body"],
)
def test_a_head_has_an_end(url: str, begun: bytes) -> None:
    """The parser would keep all of it, from whoever it comes."""
    with contextlib.suppress(ConnectionError):  # where it closed before it had read all
        answer = send(url, begun)  # nothing more is sent: the host must close by itself
        # A request that came whole may be answered before what is behind it is read.
        assert answer.status in ((405, 431) if begun.startswith(CHUNKED) else (431,))
        assert b"431 Request Header" in answer.body or answer.status == 431
    assert ask(url).status == 200


def test_what_stands_behind_a_body_is_no_header(url: str) -> None:
    body = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n"
    trailing = POST.replace(b"models", b"completions") + body
    for trailer in (b"", b"Host: evil.example\r\n", b"Origin: https://evil.example\r\n"):
        assert send(url, trailing + trailer + b"\r\n").status == 422  # as without it


async def test_an_address_behind_a_body_is_not_believed() -> None:
    settings = Settings(denied_addresses="203.0.113.7", trusted_proxies="127.0.0.1", open_loopback=True)
    head = POST + b"X-Forwarded-For: 203.0.113.7\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    async with ToyGateway(settings) as toy:
        body = b"2\r\n{}\r\n0\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n"
        refused(await asyncio.to_thread(send, toy.url, head + body), "denied")


def test_a_body_that_says_it_is_compressed_is_not_read(url: str) -> None:
    packed = gzip.compress(b'{"prompt": "' + b"a" * 10_000_000 + b'"}')
    for coding in ("gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip"):
        headers = [("Content-Encoding", coding)]
        answer = ask(url, "/api/v1/generate", headers, method="POST", body=packed)
        assert (answer.status, answer.kind) == (501, "unsupported")
        assert "send them as they are" in answer.json["error"]["message"]
    plain = [("Content-Encoding", "identity")]
    assert ask(url, "/api/v1/generate", plain, method="POST", body=b"{}").status == 422


@pytest.mark.parametrize("target", ["/v1/models", "/health", "/nothing"])
def test_answers_keep_browsers_careful(url: str, target: str) -> None:
    headers = ask(url, target).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def asked(toy: ToyGateway, forwarded: list[str]) -> Raw:
    headers = [("X-Forwarded-For", value) for value in forwarded]
    return ask(toy.url, "/v1/completions", headers, method="POST", body=b'{"prompt": "hello"}')


@pytest.mark.parametrize(
    ("settings", "forwarded", "told"),
    [
        (Settings(open_loopback=True), [], None),
        (Settings(open_loopback=True, denied_addresses="127.0.0.0/8"), [], "denied"),
        (Settings(open_loopback=True, denied_addresses="::ffff:127.0.0.1"), [], "denied"),
        (Settings(open_loopback=True, allowed_addresses="10.0.0.0/8, ::1"), [], "not on the list of allowed"),
        (Settings(open_loopback=True, allowed_addresses="127.0.0.1"), [], None),
        (Settings(open_loopback=True, denied_addresses="203.0.113.7"), ["203.0.113.7"], "an API key"),
        (Settings(open_loopback=True, allowed_addresses="127.0.0.1"), ["203.0.113.7"], "an API key"),
        (Settings(denied_addresses="203.0.113.7", trusted_proxies="127.0.0.1"), ["203.0.113.7"], "denied"),
        (
            Settings(denied_addresses="203.0.113.7", trusted_proxies="127.0.0.1"),
            ["127.0.0.1, 203.0.113.7"],
            "denied",
        ),
        (
            Settings(allowed_addresses="198.51.100.0/24", trusted_proxies="127.0.0.1"),
            ["198.51.100.9, 203.0.113.7"],
            "not on the list of allowed",
        ),
        (Settings(trusted_proxies="127.0.0.1"), ["unknown"], "is no address"),
        (Settings(trusted_proxies="127.0.0.1"), ["127.0.0.1"], "an API key"),
        (Settings(open_loopback=True, trusted_proxies="127.0.0.1"), ["127.0.0.1"], "an API key"),
    ],
)
async def test_addresses(settings: Settings, forwarded: list[str], told: str | None) -> None:
    async with ToyGateway(settings, KeyStore(single="the key")) as toy:
        answer = await asyncio.to_thread(asked, toy, forwarded)
    if told is None:
        assert answer.status == 200, answer
    else:
        assert answer.status in (401, 403)
        assert told in answer.json["error"]["message"]


async def test_addresses_have_a_limit_whatever_they_show() -> None:
    settings = Settings(address_rate_limit=2, open_loopback=True)
    async with ToyGateway(settings) as toy:
        answers = [await asyncio.to_thread(asked, toy, []) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].headers["ratelimit-remaining"] == "0"


async def test_whoever_guesses_keys_is_slowed_down() -> None:
    settings = Settings(rate_limit=2, trusted_proxies="127.0.0.1")
    async with ToyGateway(settings, KeyStore(single="the key")) as toy:
        for address in ("203.0.113.7", "2001:db8::1"):
            answers = [await asyncio.to_thread(asked, toy, [address]) for _ in range(3)]
            assert [answer.status for answer in answers] == [401, 401, 429]
        same_network = await asyncio.to_thread(asked, toy, ["2001:db8::2"])
        assert same_network.status == 429
