"""Which Host and Origin are let in: names that only look like ours are not."""

from __future__ import annotations

import pytest

from native_host.guard.origins import OriginRefused, OriginRules
from native_host.network_names import parse_hosts, parse_origins

LOOPBACK = OriginRules(
    "127.0.0.1", ["ai.example.com", "other.example.com:8443"], ["https://page.example.com"]
)
EVERYWHERE = OriginRules("0.0.0.0")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8089",
        "localhost:8089",
        "LocalHost",
        "[::1]:8089",
        "127.8.9.10",
        "ai.example.com",
        "AI.example.com:443",
        "other.example.com:8443",
    ],
)
def test_names_of_this_host(host: str) -> None:
    assert LOOPBACK.check_host([host]) == host.lower()


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["127.0.0.1", "127.0.0.1"],
        ["evil.example"],
        ["evil.example:8089"],
        ["localhost.evil.example"],
        ["127.0.0.1.evil.example"],
        ["127.0.0.1.nip.io"],
        ["ai.example.com.evil.example"],
        ["evil-ai.example.com"],
        ["other.example.com"],
        ["other.example.com:80"],
        ["localhost."],
        ["127.1"],
        ["2130706433"],
        ["0x7f000001"],
        ["0177.0.0.1"],
        ["0.0.0.0:8089"],
        ["[::]"],
        ["[::ffff:7f00:1]x"],
        ["192.168.1.1"],
        ["evil.example@127.0.0.1"],
        ["127.0.0.1@evil.example"],
        ["127.0.0.1:80@evil.example"],
        ["127.0.0.1:"],
        ["127.0.0.1:x"],
        ["127.0.0.1:65536"],
        ["127.0.0.1:8089/"],
        ["127.0.0.1 "],
        ["127.0.0.1,evil.example"],
        ["localhost\tx"],
        ["ｌocalhost"],
        ["::1"],
    ],
)
def test_other_names_are_refused(hosts: list[str]) -> None:
    with pytest.raises(OriginRefused):
        LOOPBACK.check_host(hosts)


def test_a_host_that_listens_everywhere_is_known_by_any_address_but_by_no_name() -> None:
    assert EVERYWHERE.check_host(["192.0.2.7:8089"])
    assert EVERYWHERE.check_host(["[2001:db8::7]"])
    for host in ("evil.example", "0.0.0.0", "[::]"):
        with pytest.raises(OriginRefused):
            EVERYWHERE.check_host([host])


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1:8089", "https://127.0.0.1:8089", "https://page.example.com"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_that_may_ask(origin: str, method: str) -> None:
    LOOPBACK.check_origin([origin], "127.0.0.1:8089", method, "cross-site")


@pytest.mark.parametrize(
    "origins",
    [
        ["null"],
        [""],
        ["http://evil.example"],
        ["http://127.0.0.1"],
        ["http://127.0.0.1:8090"],
        ["http://localhost:8089"],
        ["http://127.0.0.1:8089.evil.example"],
        ["http://evil.example/?http://127.0.0.1:8089"],
        ["http://evil.example#@127.0.0.1:8089"],
        ["http://user@127.0.0.1:8089"],
        ["file://127.0.0.1:8089"],
        ["HTTP://127.0.0.1:8089"],
        ["http://127.0.0.1:8089/"],
        ["//127.0.0.1:8089"],
        ["127.0.0.1:8089"],
        ["https://page.example.com:444"],
        ["http://page.example.com"],
        ["https://page.example.com.evil.example"],
        ["https://sub.page.example.com"],
        ["https://PAGE.example.com"],
        ["*"],
        ["http://127.0.0.1:8089", "http://evil.example"],
        ["http://127.0.0.1:8089 http://evil.example"],
        ["chrome-extension://abcdef"],
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_pages_are_refused(origins: list[str], method: str) -> None:
    with pytest.raises(OriginRefused):
        LOOPBACK.check_origin(origins, "127.0.0.1:8089", method, None)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_hides_the_page_may_change_nothing(site: str) -> None:
    LOOPBACK.check_origin([], "127.0.0.1", "GET", site)
    with pytest.raises(OriginRefused):
        LOOPBACK.check_origin([], "127.0.0.1", "POST", site)
    for harmless in (None, "none", "same-origin"):
        LOOPBACK.check_origin([], "127.0.0.1", "POST", harmless)


def test_an_extension_may_ask_where_it_is_listed() -> None:
    listed = OriginRules("127.0.0.1", origins=["chrome-extension://abcdef"])
    listed.check_origin(["chrome-extension://abcdef"], "127.0.0.1", "POST", None)


def test_any_origin_is_not_none() -> None:
    anyone = OriginRules("127.0.0.1", any_origin=True)
    anyone.check_origin(["https://anything.example"], "127.0.0.1", "POST", None)
    with pytest.raises(OriginRefused):
        anyone.check_origin(["null"], "127.0.0.1", "POST", None)


@pytest.mark.parametrize("text", ["example.com", "https://example.com/", "https://a b", "https://", "null"])
def test_what_is_no_origin_cannot_be_listed(text: str) -> None:
    with pytest.raises(ValueError):
        parse_origins(text)


@pytest.mark.parametrize("text", ["http://example.com", "a b", "*", "*.example.com", "a/b"])
def test_what_is_no_host_cannot_be_listed(text: str) -> None:
    with pytest.raises(ValueError):
        parse_hosts(text)


def test_lists_are_read() -> None:
    assert parse_origins("https://a.example, http://b.example:81,*") == [
        "https://a.example",
        "http://b.example:81",
        "*",
    ]
    assert parse_hosts("A.example, b:81") == ["a.example", "b:81"]
