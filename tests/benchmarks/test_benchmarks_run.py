"""Every benchmark still runs: one round of the smallest size, our side alone, no figure judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
# One thread: several would wait for each other longer than they compute, on a machine that does other things.
QUICK = ["--quick", "--without-peers", "--json", "--model", "builtin", "--threads", "1"]
ONE_BY_ONE = [
    ["one_stream.py"],
    ["in_process.py"],
    ["prefill.py"],
    ["third_turn.py"],
    ["chats_by_turns.py"],
    ["burst.py"],
    ["memory.py"],
    ["first_token.py"],
    ["cpu_modules.py"],
    ["copying.py", "--model", "tiny"],
    ["forms.py", "--streams", "1"],
    ["formats.py", "--format", "gguf"],
    ["http_gateway.py"],
    *(
        ["crowd.py", "--our-threads", "1", "--scenario", scenario]
        for scenario in ("long", "tuned", "together", "sixteen", "sixty-four")
    ),
]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("command", ONE_BY_ONE, ids=" ".join)
def test_it_measures_something(command: list[str]) -> None:
    script, *own = command
    ran = run(script, *QUICK, *own)
    assert ran.returncode == 0, ran.stderr
    reports = json.loads(ran.stdout)
    assert reports
    for report in reports:
        assert report["rows"]
        assert all(row["ours"] > 0 for row in report["rows"])


def test_figures_are_shown_with_their_goals() -> None:
    ran = run("burst.py", "--quick", "--model", "builtin", "--threads", "1")
    assert ran.returncode == 0, ran.stderr
    assert "≤ 2" in ran.stdout


@pytest.mark.parametrize("format", ["safetensors", "onnx"])
def test_a_plain_loop_is_measured_beside(format: str) -> None:
    quick = ["--quick", "--json", "--model", "tiny", "--threads", "1"]
    ran = run("formats.py", *quick, "--format", format, "--part", "one")
    assert ran.returncode == 0, ran.stderr
    (report,) = json.loads(ran.stdout)
    (row,) = report["rows"]
    assert row["ours"] > 0
    assert row["peer"] > 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["startup.py", "--runs", "1"], "spawn to ping"),
        (["relay_cost.py", "--rounds", "1", "--pings", "20"], "frames of 64 KiB"),
        (["malformed_frames.py", "--frames", "20"], "20 frames"),
        (["cancel_latency.py", "--rounds", "1", "--model", "tiny"], "prefilling"),
        (["extension_port.py", "--rounds", "1", "--notifications", "80", "--pings", "20"], "shared port"),
    ],
)
def test_those_of_the_protocol_run_too(command: list[str], said: str) -> None:
    ran = run(*command)
    assert said in ran.stdout, ran.stderr
