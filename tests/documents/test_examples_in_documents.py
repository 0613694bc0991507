"""Every example in README, docs/ and the README files beside code runs as printed, against a real host at
another port. What cannot run here has its reason below.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import jsonschema
import pytest
from gateway.spawning import served

from native_host.guard import key_file
from native_host.guard.content import ContentRules
from native_host.protocol.identity import Quotas

from .fences import DOCUMENTS, FENCES, ROOT, Fence, commands, of_language

ADDRESS = "http://127.0.0.1:8089"
SECRET, TELEGRAM_SECRET = "the parent's secret", "a-secret-of-the-webhook"

KEYED = {
    "docs/security.md",
    "docs/guides/authentication.md",
    "docs/guides/rate-limits.md",
    "docs/guides/telegram.md",
    "docs/guides/web-page.md",
}
"""Documents whose examples ask a host that wants keys. The others ask one that is open to this machine."""

TOLD = {
    ("docs/security.md", 1): "requests left",
    ("docs/security.md", 3): "2 requests a minute are allowed",
    ("docs/guides/authentication.md", 1): "tabagent-demo",
    ("docs/guides/authentication.md", 2): "infer is missing",
    ("docs/guides/telegram.md", 1): "worker",
}
"""What a Python example prints among other things, by its number there."""

NOT_RUN = {
    "./scripts/demo": "sets up everything from nothing, which takes minutes; tests/cli runs what it starts",
    "./scripts/test": "is what runs these tests",
    "source .venv": "the tests run in an environment of their own",
    "pip install": "the tests install nothing",
    "native-host chat": "talks with somebody at a terminal; tests/cli/test_chat.py has one",
    "native-host models pull": "asks a hub; tests/end_to_end/test_pulling.py has one of its own",
    "native-host models import ollama": "reads another program's folder; tests/models/sources has some",
    "native-host bench --tune": "takes minutes; tests/cli/test_tuning.py runs it with less to do",
    "native-host doctor": "fails where anything does not work; tests/cli/test_machine_commands.py runs it",
    "python examples/": "tests/examples runs each of them",
    'curl "https://api.telegram.org': "asks Telegram",
}
"""Commands, by how they begin, and why they are not run here."""

NOT_CODE = ("", "text")
NOT_RUN_FENCES = {
    ("docs/extension.md", "js"): "runs in an extension's page; tests of the extension do so",
    ("docs/botserver.md", "rust"): "cargo test runs it as an example of the crate",
    ("docs/botserver.md", "toml"): "is for another program's Cargo.toml; the example behind it is built",
    ("docs/botserver.md", "csv"): "is botserver's own configuration",
    ("rust/client/README.md", "rust"): "cargo test compiles it as an example of the crate",
}
RUN = ("python", "sh", "json", "js")


class Place(dict[str, str]):
    """The environment of an example, with the host's address in `URL`."""


@contextlib.contextmanager
def place(folder: Path, *, keyed: bool) -> Iterator[Place]:
    """A host that is open to this machine, or wants keys, which are in the environment then."""
    environment = {"NATIVE_HOST_TELEGRAM_SECRET": TELEGRAM_SECRET}
    known = {"SECRET": SECRET, "TELEGRAM_SECRET": TELEGRAM_SECRET}
    if keyed:
        file = folder / "keys.json"
        environment |= {"NATIVE_HOST_API_KEYS_FILE": str(file), "NATIVE_HOST_SECRET": SECRET}
        known["KEY"], _ = key_file.create(file, "guide", quotas=Quotas(requests_per_minute=600))
        known["LIMITED"], _ = key_file.create(file, "limited", quotas=Quotas(requests_per_minute=2))
        known["READER"], _ = key_file.create(file, "reader", scopes=frozenset({"models.read"}))
    with served(environment=environment, open_loopback=not keyed) as found:
        yield Place({**os.environ, **known, "URL": found.url})


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[bool, Place]]:
    """By whether it wants keys."""
    folder = tmp_path_factory.mktemp("documents")
    with place(folder, keyed=False) as open_to_all, place(folder, keyed=True) as keyed:
        yield {False: open_to_all, True: keyed}


@pytest.mark.parametrize("fence", of_language("python"), ids=lambda fence: fence.name)
def test_python(places: Mapping[bool, Place], fence: Fence) -> None:
    here = places[fence.document in KEYED]
    ran = run([sys.executable, "-c", fence.body.replace(ADDRESS, here["URL"])], ROOT, here)
    assert ran.strip()
    assert TOLD.get((fence.document, fence.number), "") in ran


@pytest.mark.parametrize(
    "fence",
    [fence for fence in of_language("js") if (fence.document, "js") not in NOT_RUN_FENCES],
    ids=lambda fence: fence.name,
)
def test_javascript(places: Mapping[bool, Place], fence: Fence) -> None:
    """In Node, whose `fetch` is a browser's."""
    here = places[fence.document in KEYED]
    program = f"const KEY = {json.dumps(here.get('KEY'))};\n" + fence.body.replace(ADDRESS, here["URL"])
    assert run(["node", "--input-type=module", "-e", program], ROOT, here).strip()


@pytest.mark.parametrize("fence", of_language("json"), ids=lambda fence: fence.name)
def test_json(fence: Fence, tmp_path: Path) -> None:
    document = json.loads(fence.body)
    if fence.label == "rules":
        file = tmp_path / "rules.json"
        file.write_text(fence.body, encoding="utf-8")
        ContentRules.load(file)
    elif "models" in document:
        jsonschema.validate(document, json.loads((ROOT / "docs" / "models.schema.json").read_text()))
    else:
        raise AssertionError("say what this is for, so that it can be checked")


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if commands(each)])
def test_commands(places: Mapping[bool, Place], document: str, tmp_path: Path) -> None:
    """All of a document in its order, in a home of their own."""
    here = Place({**places[document in KEYED], "HOME": str(tmp_path)})
    here |= {
        f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "CACHE", "DATA", "STATE")
    }
    (tmp_path / "secret.txt").write_text(TELEGRAM_SECRET)
    for browser in (tmp_path / "config" / "chromium", tmp_path / ".config" / "chromium"):
        browser.mkdir(parents=True)  # as if it had been used: a home without any has nowhere to install to
    if document in KEYED:
        run([*HOST, "keys", "create", "first"], tmp_path, here)
    for command in commands(document):
        if command.startswith(tuple(NOT_RUN)):
            continue
        words = shlex.split(string.Template(command).safe_substitute(here), comments=True)
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            here[name] = value
        program, *arguments = words
        if program == "curl":
            curl(here["URL"], arguments)
        elif (program, arguments[0]) == ("native-host", "serve"):
            serve(arguments, tmp_path, here)
        else:
            assert program == "native-host", f"say in NOT_RUN why this cannot run here: {command}"
            run([*HOST, *("a" * 32 if word == "ID" else word for word in arguments)], tmp_path, here)


HOST = (sys.executable, "-m", "native_host")


def run(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    """What a program prints that must succeed."""
    environment = {name: value for name, value in environment.items() if name != "URL"}
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout


def curl(url: str, arguments: list[str]) -> None:
    """As curl would send it: curl itself is not on every machine."""
    address, *options = arguments
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body: list[str] = []
    for flag, value in zip(options[::2], options[1::2], strict=True):
        if flag == "-H":
            name, _, content = value.partition(":")
            headers[name] = content.strip()
        else:
            assert flag == "-d"
            body.append(value)
    address = address.replace(ADDRESS, url)
    method = "POST" if body else "GET"
    answer = httpx.request(method, address, content="&".join(body), headers=headers, timeout=100)
    assert answer.status_code == 200, answer.text


def serve(arguments: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    """It listens, at another place, and ends when it is told to."""
    elsewhere = {"127.0.0.1:8089": "127.0.0.1:0", "/tmp/native-host.sock": str(folder / "s")}
    command = [*HOST, *(elsewhere.get(word, word) for word in arguments), "--json"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert json.loads(told)
        assert process.wait(timeout=60) == 0


def test_every_example_is_run_or_has_a_reason() -> None:
    languages = {(fence.document, fence.language) for fence in FENCES}
    unknown = {pair for pair in languages if pair[1] not in (*RUN, *NOT_CODE) and pair not in NOT_RUN_FENCES}
    assert unknown == set()
    assert set(NOT_RUN_FENCES) <= languages, "a reason for an example that there is not (any more)"
    every = [command for document in DOCUMENTS for command in commands(document)]
    for begin in NOT_RUN:
        assert any(command.startswith(begin) for command in every), (
            f"no command begins with {begin!r} (any more)"
        )


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for link in re.findall(
            r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        ):
            if "://" not in link:
                assert (ROOT / document).parent.joinpath(link).exists(), f"{document}: {link}"
