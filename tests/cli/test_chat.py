"""`native-host chat` in a terminal (by pexpect) and in a pipe, end to end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from .conftest import Run

Chat = Callable[..., "pexpect.spawn[str]"]

PROMPT = "› "
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


@pytest.fixture
def chat(environment: dict[str, str], models_json: Path, tmp_path: Path) -> Iterator[Chat]:
    """Start a chat in a terminal of 100 columns, and wait for its prompt."""
    started: list[pexpect.spawn[str]] = []

    def start(*arguments: str) -> pexpect.spawn[str]:
        child = pexpect.spawn(
            sys.executable,
            ["-m", "native_host", "chat", "--models", str(models_json), *arguments],
            env=environment,
            cwd=str(tmp_path),
            encoding="utf-8",
            dimensions=(40, 100),
            timeout=30,
        )
        started.append(child)
        child.expect_exact(PROMPT)
        return child

    yield start
    for child in started:
        child.close(force=True)


def test_an_answer_ends_with_its_figures(chat: Chat) -> None:
    child = chat("--max-tokens", "8")
    child.sendline("hello")
    child.expect(r"\d+ tokens · [\d.]+ tokens/s · first token after")
    child.expect_exact(PROMPT)


def test_ctrl_c_stops_the_answer_and_not_the_program(chat: Chat) -> None:
    child = chat("--max-tokens", "2000")
    child.sendline("hello")
    child.expect(r"hello\r\n.*\w")
    child.send(CTRL_C)
    child.expect_exact("stopped")
    child.expect_exact(PROMPT)
    child.sendline("/help")
    child.expect_exact("/quit")


def test_ctrl_c_at_the_prompt_gives_a_new_one(chat: Chat) -> None:
    child = chat()
    child.send("half a question")
    child.send(CTRL_C)
    child.expect_exact("Ctrl-D leaves")
    child.expect_exact(PROMPT)


def test_ctrl_d_leaves(chat: Chat) -> None:
    child = chat()
    child.send(CTRL_D)
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_history_outlives_the_program(chat: Chat, environment: dict[str, str]) -> None:
    first = chat()
    first.sendline("/system be brief")
    first.expect_exact("the instruction is set")
    first.expect_exact(PROMPT)
    first.send(CTRL_D)
    first.expect(pexpect.EOF)
    second = chat()
    second.send(UP)
    second.expect_exact("/system be brief")
    [history] = Path(environment["HOME"]).rglob("chat_history")
    assert history.stat().st_mode & 0o777 == 0o600


def test_several_lines_are_one_message(chat: Chat, tmp_path: Path) -> None:
    child = chat("--max-tokens", "4")
    for line in ('"""', "first", "second", '"""'):
        child.sendline(line)
    child.expect("tokens/s")
    child.expect_exact(PROMPT)
    child.sendline("third\\")
    child.sendline("fourth")
    child.expect("tokens/s")
    child.expect_exact(PROMPT)
    child.sendline("/save talk.json")
    child.expect_exact("saved to")
    said = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert [message["content"] for message in said if message["role"] == "user"] == [
        "first\nsecond",
        "third\nfourth",
    ]


def test_slash_commands_change_the_conversation(chat: Chat, tmp_path: Path) -> None:
    child = chat("--max-tokens", "4")
    child.sendline("/model")
    child.expect("tiny")
    child.expect_exact(PROMPT)
    child.sendline("/model tinny")
    child.expect("did you mean tiny")
    child.expect_exact(PROMPT)
    child.sendline("hello")
    child.expect("tokens/s")
    child.expect_exact(PROMPT)
    child.sendline("/reset")
    child.expect_exact("forgotten")
    child.expect_exact(PROMPT)
    child.sendline("/system be brief")
    child.expect_exact("the instruction is set")
    child.expect_exact(PROMPT)
    child.sendline("/save talk.json")
    child.expect_exact("saved to")
    assert json.loads((tmp_path / "talk.json").read_text()) == {
        "messages": [{"role": "system", "content": "be brief"}]
    }
    child.sendline("/nonsense")
    child.expect_exact("there is no command /nonsense")
    child.sendline("/quit")
    child.expect(pexpect.EOF)


def test_no_color_is_honoured(chat: Chat, environment: dict[str, str]) -> None:
    environment["NO_COLOR"] = "1"
    child = chat("--max-tokens", "4")
    child.sendline("/nonsense")
    child.expect_exact("error:")
    assert "\x1b[31m" not in (child.before or "")


def test_in_a_pipe_each_line_is_a_question(run: Run, models_json: Path) -> None:
    done = run("chat", "--json", "--max-tokens", "4", "--models", models_json, text="one\ntwo\n")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["message"]["role"] for answer in answers] == ["assistant", "assistant"]
    assert answers[1]["usage"]["prompt_tokens"] > answers[0]["usage"]["prompt_tokens"]


def test_in_a_pipe_a_question_without_an_answer_is_exit_code_1(run: Run, models_json: Path) -> None:
    done = run("chat", "nonsense", "--models", models_json, text="one\n")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
