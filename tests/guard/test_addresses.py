"""Who asks behind proxies, and lists of addresses."""

from __future__ import annotations

import pytest

from native_host.guard.addresses import (
    AddressRefused,
    AddressRules,
    counted_as,
    parse_address,
)
from native_host.network_names import parse_networks


def rules(allow: str = "", deny: str = "", proxies: str = "") -> AddressRules:
    return AddressRules(parse_networks(allow), parse_networks(deny), parse_networks(proxies))


@pytest.mark.parametrize(
    ("allow", "deny", "address", "let_in"),
    [
        ("", "", "203.0.113.9", True),
        ("", "203.0.113.0/24", "203.0.113.9", False),
        ("", "203.0.113.0/24", "::ffff:203.0.113.9", False),
        ("", "::ffff:203.0.113.0/120", "203.0.113.9", False),
        ("", "203.0.113.0/24", "203.0.114.9", True),
        ("10.0.0.0/8", "", "10.1.2.3", True),
        ("10.0.0.0/8", "", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "", "11.1.2.3", False),
        ("10.0.0.0/8", "", "::1", False),
        ("10.0.0.0/8, ::1", "10.6.6.6", "10.6.6.6", False),
        ("10.0.0.0/8, ::1", "10.6.6.6", "::1", True),
        ("2001:db8::/32", "", "2001:db8:1::5", True),
        ("2001:db8::/32", "", "2001:db9::5", False),
        ("fe80::/10", "", "fe80::1%eth0", True),
    ],
)
def test_lists(allow: str, deny: str, address: str, let_in: bool) -> None:
    asked = rules(allow, deny)
    if let_in:
        asked.check(parse_address(address))
        return
    with pytest.raises(AddressRefused, match="list of"):
        asked.check(parse_address(address))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["127.0.0.1"], "203.0.113.9"),  # nobody's word is taken
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["127.0.0.1, 198.51.100.7"], "198.51.100.7"),  # only the last is the proxy's word
        ("10.0.0.1", ["127.0.0.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["nonsense, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("10.0.0.1", ["2001:db8::5"], "2001:db8::5"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_whose_request_it_is(peer: str, forwarded: list[str], client: str) -> None:
    assert str(rules(proxies="10.0.0.0/8").client(peer, forwarded)) == client


@pytest.mark.parametrize(
    "hop", ["unknown", "", "_hidden", "198.51.100.7.example", "127.1", "0x7f.0.0.1", "1"]
)
def test_what_a_proxy_forwards_must_be_an_address(hop: str) -> None:
    with pytest.raises(AddressRefused, match="is no address"):
        rules(proxies="10.0.0.0/8").client("10.0.0.1", [hop])


def test_ipv6_clients_are_counted_by_their_network() -> None:
    assert counted_as(parse_address("2001:db8:1:2:3::4")) == counted_as(parse_address("2001:db8:1:2::9"))
    assert counted_as(parse_address("2001:db8:1:3::4")) != counted_as(parse_address("2001:db8:1:2::9"))
    assert counted_as(parse_address("::ffff:10.0.0.1")) == "10.0.0.1"


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0.1/8", "localhost", "10.0.0", "::/129", "10.0.0.0 /8"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_networks(text)
