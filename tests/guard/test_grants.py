"""Grants: what the file says, what manifests stand for, and that a change holds at once."""

from __future__ import annotations

import json
import multiprocessing
import re
from pathlib import Path

import pytest
from toy_service import ToyService
from wire_peer import WirePeer, kind

from native_host.guard import grant_file, grants
from native_host.guard.admission import Admission
from native_host.guard.grants import DEFAULT_SCOPES, Grant, GrantFileError, Grants, by_default, way_out
from native_host.guard.handshake import AuthPolicy
from native_host.guard.limits import UsageLimits
from native_host.platform.browsers import BROWSERS
from native_host.protocol.identity import ALL_SCOPES, Quotas
from native_host.protocol.methods import METHODS
from native_host.settings import Settings
from native_host.transports.host import Host

ONE = f"chrome-extension://{'a' * 32}/"
OTHER = f"chrome-extension://{'b' * 32}/"
ADDON = "{12345678-1234-1234-1234-123456789abc}"
INFER = frozenset({"infer"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "configuration" / "grants.json"


@pytest.fixture(autouse=True)
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[bool, Path]:
    """The user's manifest, and that for all users; neither is there yet."""
    files = {False: tmp_path / "own.json", True: tmp_path / "system.json"}
    monkeypatch.setattr(grants, "manifest_files", lambda system: [(BROWSERS["chrome"], files[system])])
    return files


def name(manifest: Path, *origins: str) -> None:
    manifest.write_text(json.dumps({"name": "com.tabagent.host", "allowed_origins": origins}))


def scopes(file: Path, origin: str = ONE) -> frozenset[str]:
    return Grants(file).identity(origin).scopes


def test_nobody_has_anything_that_was_not_given(file: Path) -> None:
    assert scopes(file) == frozenset()
    assert Grants(file).all() == []
    assert Grants(None).identity(ONE).scopes == frozenset()


def test_what_is_given_adds_up(file: Path) -> None:
    assert grant_file.grant(file, ONE).scopes == DEFAULT_SCOPES
    grant_file.grant(file, ONE, frozenset({"system"}), Quotas(concurrent=2))
    made = grant_file.grant(file, ONE, quotas=Quotas(tokens_per_day=10))
    assert made.scopes == DEFAULT_SCOPES | {"system"}
    assert made.quotas == Quotas(tokens_per_day=10, concurrent=2)
    assert Grants(file).identity(ONE).quotas == made.quotas
    assert scopes(file, OTHER) == frozenset()
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_default_is_to_use_what_there_is() -> None:
    identity = by_default(ONE).identity()
    allowed = {method.name for method in METHODS.values() if method.scope and identity.may(method.scope)}
    for method in ("chat", "generate", "embed", "models.list", "models.load", "sessions.create"):
        assert method in allowed
    for method in (
        "models.pull",
        "models.delete",
        "models.unload",
        "models.import",
        "hardware.info",
        "metrics",
    ):
        assert method in METHODS
        assert method not in allowed


def test_who_may_write_models_may_load_them() -> None:
    assert Grant(ONE, frozenset({"models.write"})).identity().may("models.load")
    assert not Grant(ONE, frozenset({"models.load"})).identity().may("models.write")


def test_revoking_takes_all_or_a_part(file: Path) -> None:
    grant_file.grant(file, ONE, frozenset({"infer", "system"}))
    kept = grant_file.revoke(file, ONE, frozenset({"system"}))
    assert kept is not None
    assert scopes(file) == INFER
    assert grant_file.revoke(file, ONE, INFER) is None
    assert scopes(file) == frozenset()
    for wanted in (frozenset[str](), INFER):
        with pytest.raises(GrantFileError, match="has no grant"):
            grant_file.revoke(file, ONE, wanted)
    grant_file.grant(file, ONE, INFER)
    with pytest.raises(GrantFileError, match="has no system"):
        grant_file.revoke(file, ONE, frozenset({"system"}))


def test_what_was_installed_before_there_were_grants_goes_on(file: Path, manifests: dict[bool, Path]) -> None:
    name(manifests[False], ONE, OTHER)
    assert scopes(file) == scopes(file, OTHER) == DEFAULT_SCOPES
    grant_file.revoke(file, ONE)  # the first entry: from now on the file says it all
    assert scopes(file) == frozenset()
    assert scopes(file, OTHER) == DEFAULT_SCOPES
    grant_file.revoke(file, OTHER)
    assert json.loads(file.read_bytes()) == {"grants": []}
    assert scopes(file, OTHER) == frozenset()


def test_a_manifest_for_all_users_gives_the_default_unless_the_user_says_otherwise(
    file: Path, manifests: dict[bool, Path]
) -> None:
    grant_file.grant(file, OTHER)
    name(manifests[True], ONE)
    assert scopes(file) == DEFAULT_SCOPES
    grant_file.revoke(file, ONE)
    assert scopes(file) == frozenset()
    grant_file.grant(file, ONE)
    assert scopes(file) == DEFAULT_SCOPES
    manifests[True].unlink()
    assert scopes(file) == DEFAULT_SCOPES


def test_a_manifest_that_changes_is_heeded_at_once(file: Path, manifests: dict[bool, Path]) -> None:
    held = Grants(file)
    assert held.find(ADDON) is None
    manifests[False].write_text(json.dumps({"allowed_extensions": [ADDON]}))
    assert held.find(ADDON) == by_default(ADDON)
    for broken in ("", "[]", '{"allowed_extensions": "x"}', "\x00"):
        manifests[False].write_text(broken)
        assert held.find(ADDON) is None
    manifests[False].unlink()
    assert held.find(ADDON) is None


def test_entries_follow_manifests(file: Path, manifests: dict[bool, Path]) -> None:
    grant_file.follow_manifests(file, [], [ONE])
    assert not file.exists()
    name(manifests[False], ONE)
    grant_file.follow_manifests(file, [ONE, ADDON], [])
    grant_file.grant(file, ONE, frozenset({"system"}))
    grant_file.follow_manifests(file, [ONE, ADDON], [ONE, ADDON])
    assert scopes(file) == DEFAULT_SCOPES | {"system"}
    grant_file.revoke(file, ADDON)
    grant_file.follow_manifests(file, [ADDON], [])
    assert scopes(file, ADDON) == DEFAULT_SCOPES
    grant_file.follow_manifests(file, [], [ONE, ADDON])
    assert scopes(file) == DEFAULT_SCOPES | {"system"}  # its manifest is there still
    assert scopes(file, ADDON) == frozenset()
    manifests[False].unlink()
    grant_file.follow_manifests(file, [], [ONE])
    assert scopes(file) == frozenset()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "grants.json"),
        ('{"grants": [{"origin": "x"}]}', "scopes"),
        ('{"grants": [{"origin": "x", "scopes": ["infer"], "sometimes": 1}]}', "sometimes"),
        ('{"grants": [{"origin": "x", "scopes": []}, {"origin": "x", "scopes": []}]}', "two grants"),
        ('{"grants": [{"origin": "x", "scopes": [], "quotas": {"concurrent": 0}}]}', "concurrent"),
    ],
)
def test_a_file_that_is_not_sound_grants_nothing_and_is_left_alone(
    file: Path, manifests: dict[bool, Path], content: str, said: str
) -> None:
    name(manifests[False], ONE)
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(GrantFileError, match=said):
        Grants(file).find(ONE)
    with pytest.raises(GrantFileError, match=said):
        grant_file.grant(file, ONE)
    assert file.read_text() == content


def test_a_file_that_everybody_can_write_grants_nothing(file: Path) -> None:
    grant_file.grant(file, ONE)
    file.chmod(0o666)
    with pytest.raises(GrantFileError, match="chmod 600"):
        Grants(file).find(ONE)


def test_a_scope_that_is_not_known_allows_nothing(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"grants": [{"origin": ONE, "scopes": ["infer", "fly"]}]}))
    assert scopes(file) == INFER


def _grant_one(file: Path, number: int) -> None:
    grant_file.grant(file, f"chrome-extension://{chr(ord('a') + number) * 32}/")


def test_processes_that_grant_at_once_lose_nothing(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_grant_one, args=(file, number)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(Grants(file).all()) == 6


def host(file: Path, limits: UsageLimits | None = None) -> Host:
    limits = limits or UsageLimits()
    handler = Admission(ToyService(), limits)
    return Host(handler, Settings(), AuthPolicy(grants=Grants(file)), limits=limits)


@pytest.mark.parametrize("way", ["the browser's arguments", "a relay's word"])
async def test_without_a_grant_everything_is_refused_and_the_way_out_told(file: Path, way: str) -> None:
    peer = WirePeer(host=host(file), origin=ONE if way == "the browser's arguments" else None)
    assert "result" in await peer.open(origin=ONE)
    for method in METHODS:
        answer = await peer.call(method)
        if method in ("ping", "health"):
            assert "result" in answer
        elif method == "initialize":
            assert kind(answer) == "invalid_request"
        else:
            assert answer["error"]["data"] == {
                "kind": "permission_denied",
                "scope": METHODS[method].scope or "origin",
            }
            assert f"`native-host grants grant {ONE}`" in answer["error"]["message"]
    assert kind(await peer.call("no.such.method")) == "permission_denied"


async def test_a_scope_that_is_missing_is_named_with_its_command(file: Path) -> None:
    grant_file.grant(file, ONE)
    peer = WirePeer(host=host(file))
    await peer.open(origin=ONE)
    assert "result" in await peer.call("generate", {"prompt": "x"})
    answer = await peer.call("models.pull", {"source": "x"})
    assert answer["error"]["data"] == {"kind": "permission_denied", "scope": "models.write"}
    command = re.search(r"`native-host grants grant (\S+) --scope (\S+)`", answer["error"]["message"])
    assert command is not None
    grant_file.grant(file, command[1], frozenset({command[2]}))
    assert "result" in await peer.call("models.pull", {"source": "x"})


async def test_a_revoked_grant_is_lost_at_the_next_request_and_back_as_soon(file: Path) -> None:
    grant_file.grant(file, ONE)
    grant_file.grant(file, OTHER)
    shared = host(file)
    peer, other = WirePeer(host=shared), WirePeer(host=shared)
    await peer.open(origin=ONE)
    await other.open(origin=OTHER)
    assert "result" in await peer.call("generate", {"prompt": "x"})
    grant_file.revoke(file, ONE)
    assert kind(await peer.call("generate", {"prompt": "x"})) == "permission_denied"
    assert "result" in await other.call("generate", {"prompt": "x"})
    grant_file.grant(file, ONE)
    assert "result" in await peer.call("generate", {"prompt": "x"})


async def test_quotas_are_those_of_keys(file: Path) -> None:
    grant_file.grant(file, ONE, quotas=Quotas(requests_per_minute=2))
    shared = host(file)
    first, second = WirePeer(host=shared), WirePeer(host=shared)
    for peer in (first, second):
        await peer.open(origin=ONE)
        assert "result" in await peer.call("generate", {"prompt": "x"})
    assert kind(await first.call("generate", {"prompt": "x"})) == "rate_limited"


async def test_tokens_of_the_day(file: Path) -> None:
    grant_file.grant(file, ONE, quotas=Quotas(tokens_per_day=3))
    peer = WirePeer(host=host(file))
    await peer.open(origin=ONE)
    assert "result" in await peer.call("generate", {"prompt": "x"})
    assert kind(await peer.call("generate", {"prompt": "x"})) == "quota_exceeded"


@pytest.fixture
def unsound(file: Path) -> Path:
    file.parent.mkdir()
    file.write_text("{")
    return file


async def test_an_unsound_file_is_told_as_such_and_not_where_it_lies(unsound: Path) -> None:
    peer = WirePeer(host=host(unsound))
    await peer.open(origin=ONE)
    answer = await peer.call("generate", {"prompt": "x"})
    assert kind(answer) == "permission_denied"
    assert "native-host doctor" in answer["error"]["message"]
    assert str(unsound) not in json.dumps(answer)
    local = WirePeer(host=host(unsound))
    await local.open()
    assert "result" in await local.call("generate", {"prompt": "x"})


async def test_an_extension_looks_at_no_files(file: Path) -> None:
    grant_file.grant(file, ONE)
    peer = WirePeer(host=host(file))
    await peer.open(origin=ONE)
    assert "result" in await peer.call("models.inspect", {"model": "tiny"})
    answer = await peer.call("models.inspect", {"path": "/etc/passwd"})
    assert answer["error"]["data"] == {"kind": "permission_denied", "scope": "models.write"}
    grant_file.grant(file, ONE, ALL_SCOPES)
    assert "result" in await peer.call("models.inspect", {"path": "/etc/passwd"})


def test_the_way_out_can_be_pasted_into_a_shell() -> None:
    assert way_out(ADDON) == f"`native-host grants grant '{ADDON}'`"
    assert way_out("a b;c", "infer") == "`native-host grants grant 'a b;c' --scope infer`"
