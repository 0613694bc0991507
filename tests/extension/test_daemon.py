"""The extension at a daemon: relays and daemons that die in the middle, a background that sleeps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from end_to_end.processes import survivors
from playwright.sync_api import BrowserContext, Page, expect
from web.conftest import PATIENCE_MS

from .conftest import ROOT, Surroundings, hosts, stop_background
from .in_page import run, streamed

expect.set_options(timeout=PATIENCE_MS)


class Daemon:
    """`native-host serve` at the place where relays look."""

    def __init__(self, surroundings: Surroundings, models: Path) -> None:
        self._command = [sys.executable, "-m", "native_host", "serve", "--json", "--models", str(models)]
        self._environment = {name: str(value) for name, value in surroundings.environment.items()}
        self.start()

    def start(self) -> None:
        """Until it says where it listens."""
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline()
        self.pid = self._process.pid

    def kill(self) -> None:
        """Without a word; its models' processes go too."""
        with self._process as process:
            process.kill()


@pytest.fixture
def daemon(surroundings: Surroundings, models_file: Path) -> Iterator[Daemon]:
    found = Daemon(surroundings, models_file)
    yield found
    found.kill()


@pytest.fixture
def shared(daemon: Daemon, panel: Page) -> Page:
    """The page, connected through a relay."""
    assert served_by(panel) == daemon.pid
    return panel


def served_by(page: Page) -> int:
    """The process that answers."""
    return int(run(page, "await client.call('ping', {}); return client.host.server.pid"))


def test_the_same_stream_goes_on_through_another_relay(shared: Page, surroundings: Surroundings) -> None:
    (relay,) = hosts(surroundings)
    seen = streamed(shared, relay.kill)
    assert (seen["begun"], seen["streams"]) == (0, 1)
    assert hosts(surroundings) != [relay]


def test_the_same_stream_goes_on_after_the_background_was_stopped(
    shared: Page, browser: BrowserContext
) -> None:
    session = browser.new_cdp_session(shared)
    seen = streamed(shared, lambda: stop_background(session))
    assert (seen["begun"], seen["streams"]) == (0, 1)


def test_an_answer_is_completed_though_the_daemon_was_killed(shared: Page, daemon: Daemon) -> None:
    seen = streamed(shared, daemon.kill)
    assert seen["begun"] <= 1
    assert served_by(shared) != daemon.pid


def test_an_answer_is_completed_by_whichever_host_comes_next(shared: Page, daemon: Daemon) -> None:
    def interrupt() -> None:
        daemon.kill()
        daemon.start()

    streamed(shared, interrupt)


def test_the_daemon_stays_when_the_page_is_closed_and_the_relay_goes(
    shared: Page, daemon: Daemon, surroundings: Surroundings
) -> None:
    relays = hosts(surroundings)
    shared.goto("about:blank")
    assert survivors(relays) == []
    assert psutil.pid_exists(daemon.pid)


MANY = """
    const { Connection } = await import("/client/connection.js");
    const connection = new Connection(await extensionPort()(new AbortController().signal));
    const own = { name: "test", version: "1" };
    await connection.request("initialize", { protocol_version: "1", client: own });
    const prompts = Array.from({ length: 8 }, (_, number) => `Count from ${number}:`);
    const each = { max_tokens: argument / 8, ignore_eos: true, logprobs: 0, temperature: 1 };
    const params = { model: "tiny", prompts, ...each, stream: true, resumable: true };
    let stream = "";
    await connection.request("generate", params, { onPiece: (piece) => (stream ||= piece.stream) });
    const seqs = [];
    const onPiece = ({ seq }) => seqs.push(seq);
    await connection.request("streams.resume", { stream, from_seq: 0 }, { onPiece });
    connection.close();
    return { count: seqs.length, inOrder: seqs.every((seq, index) => seq === index) };
"""


def test_ten_thousand_small_notifications_arrive_in_their_order(shared: Page) -> None:
    """A kept stream is sent again, a notification for each token."""
    seen = run(shared, MANY, 10_000)
    assert seen["count"] >= 10_000
    assert seen["inOrder"]
