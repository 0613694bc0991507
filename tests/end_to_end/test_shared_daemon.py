"""Two extensions share a daemon with real models, each for itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from relay.browser_stand_in import ORIGIN, OTHER_ORIGIN, SOCKET, Port, environment

STREAM = {
    "prompt": "once upon a time",
    "max_tokens": 600,
    "ignore_eos": True,
    "seed": 11,
    "stream": True,
    "resumable": True,
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


@pytest.fixture
def shared(environ: dict[str, str], models_file: Path) -> Iterator[None]:
    """A daemon at the place where relays look."""
    path = Path(environ["XDG_RUNTIME_DIR"]) / SOCKET
    command = [sys.executable, "-m", "native_host", "serve", "--json", "--socket", str(path)]
    command += ["--models", str(models_file)]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    yield
    process.terminate()
    process.communicate()


@pytest.fixture
def ports(shared: None, environ: dict[str, str]) -> Iterator[tuple[Port, Port]]:
    """Two extensions', introduced."""
    with Port(environ) as one, Port(environ, OTHER_ORIGIN) as other:
        one.open()
        other.open()
        yield one, other


def kind(answer: Any) -> str:  # noqa: ANN401
    return str(answer["error"]["data"]["kind"])


def begun(port: Port) -> tuple[str, int, str]:
    """Start the stream and read some of it: its name, the next number, the text so far."""
    port.say("generate", STREAM, "stream")
    text, name, seq = "", "", -1
    while seq < 3:
        piece = port.hear()
        if piece.get("method") != "$/stream":
            continue
        name, seq = piece["params"].get("stream", name), piece["params"]["seq"]
        text += piece["params"]["text"]
    return name, seq + 1, text


def resumed(port: Port, name: str, seq: int) -> tuple[str, Any]:
    """The rest of the stream, and the answer."""
    answer = port.call("streams.resume", {"stream": name, "from_seq": seq}, "resume")
    pieces = [each["params"] for each in port.notified if each.get("method") == "$/stream"]
    assert [piece["seq"] for piece in pieces] == list(range(seq, seq + len(pieces)))
    return "".join(piece["text"] for piece in pieces), answer


def test_a_stream_goes_on_through_a_new_relay_of_the_same_extension_only(
    ports: tuple[Port, Port], environ: dict[str, str]
) -> None:
    one, other = ports
    name, seq, text = begun(one)
    one.process.kill()
    one.process.wait()
    assert kind(other.call("streams.resume", {"stream": name, "from_seq": seq})) == "stream_not_found"
    with Port(environ, ORIGIN) as again:
        again.open()
        rest, answer = resumed(again, name, seq)
    assert answer["result"]["text"] == text + rest
    assert answer["result"]["usage"]["completion_tokens"] == 600


def test_a_relay_that_is_asked_to_end_leaves_the_stream_as_well(
    ports: tuple[Port, Port], environ: dict[str, str]
) -> None:
    one, _ = ports
    name, seq, text = begun(one)
    assert one.close() == 0
    with Port(environ, ORIGIN) as again:
        again.open()
        rest, answer = resumed(again, name, seq)
    assert answer["result"]["text"] == text + rest


def test_sessions_are_seen_by_their_own_extension_only(ports: tuple[Port, Port]) -> None:
    one, other = ports
    session = one.call("sessions.create", {})["result"]["session"]
    assert kind(other.call("sessions.get", {"session": session})) == "session_not_found"
    assert kind(other.call("sessions.delete", {"session": session})) == "session_not_found"
    told = {"session": session, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    assert kind(other.call("chat", told)) == "session_not_found"
    assert session not in str(other.call("sessions.list", {})["result"])
    assert session in str(one.call("sessions.list", {})["result"])


def test_prefixes_are_reused_within_an_extension_only(ports: tuple[Port, Port]) -> None:
    one, other = ports
    asked = {"prompt": "a long beginning that is asked again and again " * 8, "max_tokens": 2}

    def cached(port: Port) -> int:
        return int(port.call("generate", asked)["result"]["usage"]["cached_tokens"])

    assert cached(one) == 0
    assert cached(one) > 0
    assert cached(other) == 0
    assert cached(other) > 0


def test_they_stream_side_by_side(ports: tuple[Port, Port]) -> None:
    one, other = ports
    alone = {**STREAM, "max_tokens": 100, "resumable": False}
    for port in ports:
        port.say("generate", alone)
    for port in (one, other):
        text = port.answer()["result"]["text"]
        pieces = [each["params"] for each in port.notified if each.get("method") == "$/stream"]
        assert "".join(piece["text"] for piece in pieces) == text
