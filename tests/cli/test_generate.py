"""`native-host generate`, end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Run

SAMPLED = ["--max-tokens", "24", "--seed", "7", "--temperature", "1"]


def test_text_in_a_pipe_is_the_text_and_nothing_else(run: Run, models_json: Path) -> None:
    plain = run("generate", "hello", *SAMPLED, "--models", models_json)
    whole = run("generate", "hello", *SAMPLED, "--models", models_json, "--json")
    assert plain.returncode == whole.returncode == 0, plain.stderr + whole.stderr
    result = json.loads(whole.stdout)
    assert plain.stdout == result["text"] != ""
    assert result["model"] == "tiny"
    assert result["usage"]["completion_tokens"] <= 24
    assert plain.stderr == ""


def test_the_prompt_can_come_from_stdin(run: Run, models_json: Path) -> None:
    piped = run("generate", "-", *SAMPLED, "--models", models_json, text="hello")
    assert piped.stdout == run("generate", "hello", *SAMPLED, "--models", models_json).stdout


def test_another_seed_gives_another_text(run: Run, models_json: Path) -> None:
    other = ["--max-tokens", "24", "--seed", "8", "--temperature", "1"]
    assert (
        run("generate", "hello", *other, "--models", models_json).stdout
        != run("generate", "hello", *SAMPLED, "--models", models_json).stdout
    )


def test_chat_asks_by_the_template(run: Run, models_json: Path) -> None:
    asked = run("generate", "hello", "--chat", *SAMPLED, "--models", models_json, "--json")
    assert json.loads(asked.stdout)["message"]["role"] == "assistant"


def test_an_unknown_model_is_one_line_that_names_the_nearest(run: Run, models_json: Path) -> None:
    refused = run("generate", "hello", "--model", "tinny", "--models", models_json)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert "'tinny'" in refused.stderr
    assert "did you mean tiny" in refused.stderr


@pytest.mark.parametrize("arguments", [["--max-tokens", "-1"], ["--top-p", "2"], ["--temperature", "hot"]])
def test_values_out_of_range_are_wrong_usage(run: Run, arguments: list[str]) -> None:
    assert run("generate", "hello", *arguments).returncode == 2


def test_a_reader_that_has_seen_enough_is_no_fault(environment: dict[str, str], models_json: Path) -> None:
    program = [
        sys.executable,
        "-m",
        "native_host",
        "generate",
        "hello",
        "-n",
        "400",
        "--models",
        str(models_json),
    ]
    with subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) != b""
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
