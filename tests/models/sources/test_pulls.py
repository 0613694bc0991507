"""Pulls in child processes from a server that speaks as the hub does, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import threading
from pathlib import Path

import psutil
import pytest
from fake_hub import COMMIT, FakeHub, Repo

from native_host.models.sources.download import Downloaded, Step
from native_host.models.sources.pulls import Pulls
from native_host.models.sources.source import HubSource, WebSource
from native_host.protocol.errors import RpcError

REPO = "owner/small-model-GGUF"
SOURCE = HubSource(REPO)


def unheard(step: Step) -> None:
    """Nobody listens."""


def found(folder: Path, pattern: str) -> list[Path]:
    return list(folder.rglob(pattern))


@pytest.fixture
def repo(hub: FakeHub, model_bytes: bytes) -> Repo:
    repo = Repo({"README.md": b"text", "small-F16.gguf": model_bytes})
    hub.repos[REPO] = repo
    return repo


async def refused(pulls: Pulls, source: HubSource | WebSource = SOURCE) -> RpcError:
    with pytest.raises(RpcError) as failure:
        await pulls.pull(source, unheard)
    assert failure.value.kind == "download_failed"
    assert failure.value.data["source"] == str(source)
    assert failure.value.data["reason"] in failure.value.message
    return failure.value


async def test_a_model_arrives_whole_and_only_it(
    pulls: Pulls, hub: FakeHub, repo: Repo, model_bytes: bytes, folder: Path
) -> None:
    steps: list[Step] = []
    done = await pulls.pull(SOURCE, steps.append)
    assert done.path == folder / "hf" / REPO / "small-F16.gguf"
    assert done.path.read_bytes() == model_bytes
    assert done.fetched_bytes == done.size == len(model_bytes)
    assert (done.pulled.format, done.pulled.label, done.pulled.commit) == ("gguf", "F16", COMMIT)
    assert hub.sent == len(model_bytes)
    assert steps[-1] == Step("fetching small-F16.gguf", len(model_bytes), len(model_bytes))
    assert [step.done for step in steps] == sorted(step.done for step in steps)


async def test_what_is_here_is_not_fetched_again(pulls: Pulls, hub: FakeHub, repo: Repo) -> None:
    first = await pulls.pull(SOURCE, unheard)
    again = await pulls.pull(SOURCE, unheard)
    assert again.pulled == first.pulled
    assert again.fetched_bytes == 0
    assert hub.sent == first.size


async def test_a_broken_connection_is_taken_up_where_it_broke(
    pulls: Pulls, hub: FakeHub, repo: Repo, model_bytes: bytes
) -> None:
    hub.break_after = [3_000_000, 1_000_000]
    done = await pulls.pull(SOURCE, unheard)
    assert done.path.read_bytes() == model_bytes
    assert hub.sent == done.fetched_bytes == len(model_bytes)
    assert hub.asked("small-F16.gguf") == [None, "bytes=3000000-", "bytes=4000000-"]


async def test_a_later_pull_goes_on_where_a_failed_one_stopped(
    pulls: Pulls, hub: FakeHub, repo: Repo, model_bytes: bytes
) -> None:
    hub.break_after = [3_000_000] + [0] * 5
    error = await refused(pulls)
    assert error.data["resumable"] is True
    hub.stop()
    hub.start()
    done = await pulls.pull(SOURCE, unheard)
    assert done.path.read_bytes() == model_bytes
    assert done.fetched_bytes == len(model_bytes) - 3_000_000
    assert hub.sent == len(model_bytes)


async def test_a_server_that_restarts_in_the_middle(
    pulls: Pulls, hub: FakeHub, repo: Repo, model_bytes: bytes
) -> None:
    hub.held = threading.Event()
    pull = asyncio.create_task(pulls.pull(SOURCE, unheard))
    await asyncio.to_thread(hub.half_sent.wait)
    hub.break_after = []
    await asyncio.to_thread(hub.stop)
    hub.held = None
    hub.start()
    assert (await pull).path.read_bytes() == model_bytes


async def test_a_damaged_file_is_thrown_away(pulls: Pulls, hub: FakeHub, repo: Repo, folder: Path) -> None:
    repo.damaged.add("small-F16.gguf")
    error = await refused(pulls)
    assert "wrong checksum" in error.message
    assert error.data["resumable"] is False
    assert found(folder, "*.gguf") == found(folder, "*.part") == []
    repo.damaged.clear()
    assert (await pulls.pull(SOURCE, unheard)).fetched_bytes == hub.sent // 2


async def test_a_small_file_that_is_damaged_is_noticed_too(pulls: Pulls, hub: FakeHub, repo: Repo) -> None:
    repo.lfs_over = 1 << 40  # git's own checksum is all that the hub says
    repo.damaged.add("small-F16.gguf")
    assert "wrong checksum" in (await refused(pulls)).message


async def test_many_who_ask_share_one_pull(pulls: Pulls, hub: FakeHub, repo: Repo) -> None:
    done = await asyncio.gather(*(pulls.pull(SOURCE, unheard) for _ in range(8)))
    assert len({each.path for each in done}) == 1
    assert hub.asked("small-F16.gguf") == [None]


async def test_two_hosts_fetch_it_once(pulls: Pulls, hub: FakeHub, repo: Repo, folder: Path) -> None:
    hub.held = threading.Event()
    other = Pulls(folder)
    waits = asyncio.Event()

    def heard(step: Step) -> None:
        if "another process" in step.message:
            waits.set()

    first = asyncio.create_task(pulls.pull(SOURCE, unheard))
    await asyncio.to_thread(hub.half_sent.wait)
    second = asyncio.create_task(other.pull(SOURCE, heard))
    await waits.wait()
    hub.held.set()
    assert [(await each).fetched_bytes for each in (first, second)] == [hub.sent, 0]


async def test_a_cancelled_pull_ends_its_process_and_is_gone_on_with(
    pulls: Pulls, hub: FakeHub, repo: Repo, model_bytes: bytes, folder: Path
) -> None:
    hub.held = threading.Event()
    others = set(psutil.Process().children())  # of tests before, which end when they will
    pull = asyncio.create_task(pulls.pull(SOURCE, unheard))
    await asyncio.to_thread(hub.half_sent.wait)
    assert len(set(psutil.Process().children()) - others) == 1
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    await pulls.stop()
    assert set(psutil.Process().children()) <= others
    parts = found(folder, "*.part")
    assert len(parts) == 1
    here = parts[0].stat().st_size
    hub.held.set()
    hub.held = None
    done = await Pulls(folder).pull(SOURCE, unheard)
    assert done.path.read_bytes() == model_bytes
    assert done.fetched_bytes == len(model_bytes) - here


async def test_one_who_goes_away_does_not_end_it_for_the_others(
    pulls: Pulls, hub: FakeHub, repo: Repo
) -> None:
    hub.held = threading.Event()
    hasty, patient = (asyncio.create_task(pulls.pull(SOURCE, unheard)) for _ in range(2))
    await asyncio.to_thread(hub.half_sent.wait)
    hasty.cancel()
    await asyncio.wait([hasty])
    hub.held.set()
    assert (await patient).fetched_bytes == hub.sent


async def test_an_unknown_repository(pulls: Pulls, hub: FakeHub) -> None:
    error = await refused(pulls)
    assert (
        "there is no repository owner/small-model-GGUF, or it needs a token (set HF_TOKEN)" in error.message
    )
    assert error.data["resumable"] is False


async def test_a_token_opens_a_private_repository_and_goes_to_nobody_else(
    pulls: Pulls, hub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.token = "hf_secret"
    await refused(pulls)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "HF_TOKEN may not read it" in (await refused(pulls)).message
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    await pulls.pull(SOURCE, unheard)
    assert not hub.authorized_elsewhere


async def test_a_token_of_the_keyring(
    pulls: Pulls, hub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fake_keyring_backend.py").write_text(
        "from keyring.backend import KeyringBackend\n"
        "class Keys(KeyringBackend):\n"
        "    priority = 1\n"
        "    def get_password(self, service, name):\n"
        "        return {('native-host', 'HF_TOKEN'): 'hf_secret'}.get((service, name))\n"
        "    def set_password(self, service, name, password): ...\n"
        "    def delete_password(self, service, name): ...\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "fake_keyring_backend.Keys")
    repo.token = "hf_secret"
    assert (await pulls.pull(SOURCE, unheard)).fetched_bytes


async def test_a_gated_repository(pulls: Pulls, repo: Repo) -> None:
    repo.gated = True
    assert "accept its terms" in (await refused(pulls)).message


async def test_a_hub_that_cannot_be_reached(pulls: Pulls, hub: FakeHub) -> None:
    hub.stop()
    error = await refused(pulls)
    assert "cannot be reached" in error.message
    assert error.data["resumable"] is True


async def test_offline_what_is_here_is_found_and_nothing_is_asked(
    pulls: Pulls, hub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in (await refused(pulls)).message
    assert not hub.requests
    monkeypatch.delenv("HF_HUB_OFFLINE")
    online = await pulls.pull(SOURCE, unheard)
    asked = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = await pulls.pull(SOURCE, unheard)
    assert (offline.pulled, len(hub.requests)) == (online.pulled, asked)


async def test_more_than_the_disk_holds_is_refused_before_anything_comes(
    pulls: Pulls, hub: FakeHub, repo: Repo
) -> None:
    repo.claimed_sizes["small-F16.gguf"] = 1 << 60
    error = await refused(pulls)
    assert f"{1 << 60:,} bytes are to come" in error.message
    assert hub.sent == 0


async def test_a_disk_that_fills_up_on_the_way(
    pulls: Pulls, hub: FakeHub, repo: Repo, model_bytes: bytes, folder: Path
) -> None:
    """The system's limit on file sizes stands for the disk: writing fails in the same place."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, hard))
    try:
        error = await refused(pulls)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "the disk is full" in error.message
    assert error.data["resumable"] is True
    done = await pulls.pull(SOURCE, unheard)
    assert done.path.read_bytes() == model_bytes
    assert done.fetched_bytes <= len(model_bytes) - (3 << 20)


async def test_a_split_model_arrives_with_all_its_parts(pulls: Pulls, hub: FakeHub) -> None:
    parts = {f"big-Q8_0-{n:05}-of-00003.gguf": bytes([n]) * 200_000 for n in (1, 2, 3)}
    hub.repos[REPO] = Repo({**parts, "big-F16.gguf": b"x" * 500_000})
    done = await pulls.pull(SOURCE, unheard)
    assert done.path.name == "big-Q8_0-00001-of-00003.gguf"
    assert {name: (done.path.parent / name).read_bytes() for name in parts} == parts
    assert hub.sent == 600_000


async def test_a_file_name_that_leads_out_of_the_folder_is_no_file(pulls: Pulls, hub: FakeHub) -> None:
    hub.repos[REPO] = Repo({"../../evil-Q4_K_M.gguf": b"x" * 2000, "/evil-Q4_0.gguf": b"x" * 2000})
    assert "no model" in (await refused(pulls)).message
    assert hub.sent == 0


async def test_a_new_version_fetches_what_has_changed(pulls: Pulls, hub: FakeHub) -> None:
    config, weights = b'{"a": 1}', b"w" * 5000
    repo = Repo({"config.json": config, "model.safetensors": weights})
    hub.repos["owner/tensors"] = repo
    source = HubSource("owner/tensors")
    assert (await pulls.pull(source, unheard)).fetched_bytes == len(config + weights)
    repo.files["config.json"] = b'{"a": 2}'
    done = await pulls.pull(source, unheard)
    assert done.fetched_bytes == len(config)
    assert (done.path / "config.json").read_bytes() == b'{"a": 2}'


async def test_a_file_of_any_address_with_its_checksum(
    pulls: Pulls, hub: FakeHub, repo: Repo, model_bytes: bytes
) -> None:
    url = f"{hub.address}/cdn/{REPO}/small-F16.gguf"
    source = WebSource(url, hashlib.sha256(model_bytes).hexdigest())
    hub.break_after = [2_000_000]
    done = await pulls.pull(source, unheard)
    assert done.path.read_bytes() == model_bytes
    assert done.fetched_bytes == len(model_bytes)
    assert hub.asked("small-F16.gguf") == [None, "bytes=2000000-"]
    assert isinstance(done, Downloaded)
    wrong = WebSource(url, "0" * 64)
    assert "wrong checksum" in (await refused(pulls, wrong)).message
    missing = WebSource(f"{hub.address}/none.gguf", "0" * 64)
    assert "404" in (await refused(pulls, missing)).message


async def test_no_pull_begins_once_the_host_stops(pulls: Pulls, repo: Repo) -> None:
    await pulls.stop()
    with pytest.raises(RpcError, match="shutting down"):
        await pulls.pull(SOURCE, unheard)
