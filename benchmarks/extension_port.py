"""How fast small messages come through the browser: from a daemon, by its relay, into an extension's page.

    python benchmarks/extension_port.py [--rounds 5] [--notifications 10000] [--json]

A kept stream is sent again, a notification for each token; and `ping` goes there and back. Measured by turns
with the page's own native port, and through the extension's background, which all its pages share. Goals:
8,000 notifications a second, and half of all pings within a millisecond.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.models import chosen_model
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
EXTENSION = ROOT / "extension"
ID = "pdlgcndmcliapkdimiipddnhdepegafd"
WAYS = {"the page's own port": "nativePort", "the extension's shared port": "extensionPort"}
STREAMS = 8
GOALS = (8000, 1.0)

MEASURE = """
async ([way, notifications, streams, pings]) => {
  const { [way]: port } = await import("/client.js");
  const { Connection } = await import("/client/connection.js");
  const connection = new Connection(await port()(new AbortController().signal));
  const client = { name: "benchmark", version: "1" };
  await connection.request("initialize", { protocol_version: "1", client });
  const prompts = Array.from({ length: streams }, (_, number) => `Count from ${number}:`);
  const each = { max_tokens: Math.ceil(notifications / streams), ignore_eos: true, logprobs: 0 };
  let stream = "";
  await connection.request("generate", { prompts, ...each, stream: true, resumable: true }, {
    onPiece: (piece) => (stream ||= piece.stream),
  });
  let count = 0;
  const began = performance.now();
  await connection.request("streams.resume", { stream, from_seq: 0 }, { onPiece: () => count++ });
  const seconds = (performance.now() - began) / 1000;
  const times = [];
  for (let turn = 0; turn < pings; turn++) {
    const asked = performance.now();
    await connection.request("ping", {});
    times.push(performance.now() - asked);
  }
  connection.close();
  return { rate: count / seconds, pings: times };
}
"""


def main() -> int:
    """Print medians of both ways; 1 where the shared port misses a goal and `--json` was not asked for."""
    parser = argparse.ArgumentParser(description="Measure the way from a daemon into the extension's pages.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--notifications", type=int, default=10_000)
    parser.add_argument("--pings", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures: dict[str, list[Any]] = {way: [] for way in WAYS}
    with opened(chosen_model("tiny")) as page:
        for _ in range(arguments.rounds):
            for way, port in WAYS.items():
                asked = [port, arguments.notifications, STREAMS, arguments.pings]
                figures[way].append(page.evaluate(MEASURE, asked))
    rows = {way: summed_up(rounds) for way, rounds in figures.items()}
    if arguments.json:
        print(json.dumps(rows))
        return 0
    for way, (rate, ping) in rows.items():
        print(f"{way:28} {rate:8.0f} notifications/s   ping p50 {ping:5.2f} ms")
    print(f"{'goals':28} {GOALS[0]:8} notifications/s   ping p50 {GOALS[1]:5.2f} ms")
    rate, ping = rows["the extension's shared port"]
    return int(rate < GOALS[0] or ping > GOALS[1])


def summed_up(rounds: list[Any]) -> tuple[float, float]:
    """The median rate, and the median ping in milliseconds."""
    pings = [ping for each in rounds for ping in each["pings"]]
    return statistics.median(each["rate"] for each in rounds), statistics.median(pings)


@contextlib.contextmanager
def opened(model: Path) -> Iterator[Page]:
    """A page of the extension in Chromium, which finds a daemon with this model."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("Chromium is needed (Debian: chromium)")
    with tempfile.TemporaryDirectory(prefix="nh-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"HOME": name, "XDG_RUNTIME_DIR": name, "PYTHONPATH": os.pathsep.join(paths)}
        environ = {**os.environ, **own}
        install(home, environ)
        with daemon(home, model, environ), sync_playwright() as playwright:
            browser = playwright.chromium.launch_persistent_context(
                home / "profile",
                executable_path=program,
                headless=True,
                ignore_default_args=["--disable-extensions"],
                args=[
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    f"--load-extension={EXTENSION}",
                ],
                env=dict(environ),
                timeout=0,
            )
            page = browser.new_page()
            page.goto(f"chrome-extension://{ID}/index.html", timeout=0)
            yield page
            browser.close()


def install(home: Path, environ: dict[str, str]) -> None:
    """Make the host of this checkout known to the browser."""
    program = home / "native-host"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m native_host "$@"\n')
    program.chmod(0o755)
    folder = home / "profile" / "NativeMessagingHosts"
    command = [sys.executable, "-m", "native_host", "install", "--browser", "chromium", "--extension-id", ID]
    where = ["--dir", str(folder), "--program", str(program)]
    subprocess.run([*command, *where], check=True, env=environ, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def daemon(home: Path, model: Path, environ: dict[str, str]) -> Iterator[None]:
    """`native-host serve` where relays look for it."""
    registry = home / "models.json"
    registry.write_text(json.dumps({"models": {"bench": {"type": "gguf", "path": str(model), "threads": 1}}}))
    command = [sys.executable, "-m", "native_host", "serve", "--json", "--models", str(registry)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
