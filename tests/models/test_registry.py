"""`models.json`: what loads, what is refused, and how clearly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from native_host.models.registry import BUILTIN_NAME, BUILTIN_NAMES, Registry, RegistryError, find_file
from native_host.protocol.errors import RpcError

OTHER_RELEASES_EXAMPLE = Path(__file__).with_name("other_releases.json").read_text()


def write(folder: Path, text: str) -> Path:
    file = folder / "models.json"
    file.write_text(text)
    return file


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(RegistryError) as caught:
        Registry.load(write(folder, text))
    return str(caught.value)


def test_without_a_file_the_built_in_model_is_the_registry() -> None:
    registry = Registry.load(None)
    assert [spec.name for spec in registry.specs()] == [*BUILTIN_NAMES]
    assert registry.resolve(None).format == "gguf"


def test_the_example_of_other_releases_loads_unchanged(tmp_path: Path) -> None:
    registry = Registry.load(write(tmp_path, OTHER_RELEASES_EXAMPLE))
    mistral, llama = registry.specs()[:2]
    assert (mistral.name, mistral.type, mistral.format, mistral.file) == (
        "mistral-7b-instruct",
        "transformers",
        "safetensors",
        None,
    )
    assert (llama.format, llama.file) == ("gguf", Path("/models/llama-2-7b-chat.gguf"))
    assert (llama.entry.context_length, llama.entry.threads) == (4096, 8)
    assert registry.resolve(None) is mistral


def test_the_file_beats_the_built_in_model_of_the_same_name(tmp_path: Path) -> None:
    registry = Registry.load(write(tmp_path, json.dumps({"models": {BUILTIN_NAME: {"path": "mine.gguf"}}})))
    assert registry.resolve(BUILTIN_NAME).file == tmp_path / "mine.gguf"


def test_the_default_is_the_file_s_then_the_environment_s_then_the_first(tmp_path: Path) -> None:
    models = {"a": {"path": "a.gguf"}, "b": {"path": "b.gguf"}}
    said = write(tmp_path, json.dumps({"models": models, "default": "b"}))
    assert Registry.load(said, "a").resolve(None).name == "b"
    unsaid = write(tmp_path, json.dumps({"models": models}))
    assert Registry.load(unsaid, "b").resolve(None).name == "b"
    assert Registry.load(unsaid).resolve(None).name == "a"


def test_aliases_and_nearest_names(tmp_path: Path) -> None:
    entry = {"path": "/m.gguf", "aliases": ["gpt-4"]}
    registry = Registry.load(write(tmp_path, json.dumps({"models": {"SmolLM2-135M": entry}})))
    assert registry.resolve("gpt-4").name == "SmolLM2-135M"
    with pytest.raises(RpcError) as caught:
        registry.resolve("smollm-135")
    assert caught.value.kind == "model_not_found"
    assert caught.value.data["nearest"] == ["SmolLM2-135M"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{\n"models": {"m": {\n"path": "x",\n"thread": 8}}}',
            ":4: models.m.thread: unknown key; did you mean 'threads'?",
        ),
        ('{"modells": {}}', ":1: modells: unknown key; did you mean 'models'?"),
        ('{"models": {"m": {\n"path": 5}}}', ":2: models.m.path: Expected `str`, got `int`"),
        ('{"models": {\n"m": {}}}', ":2: models.m: Object missing required field `path`"),
        (
            '{"models": {"m": {"path": "x",\n"sampling": {"top_q": 1}}}}',
            ":2: models.m.sampling.top_q: unknown key",
        ),
        (
            '{"models": {"m": {"path": "x",\n"threads": 0}}}',
            ":2: models.m.threads: must be at least 1, not 0",
        ),
        (
            '{"models": {"m": {"path": "x",\n"keep_alive": "soon"}}}',
            ":2: models.m.keep_alive: 'soon' is no duration",
        ),
        ('{"models": {"m": {"path": ""}}}', ":1: models.m.path: is empty"),
        ('{"models": {"m": {"path": "x"}},\n"default": "n"}', ":2: default: there is no model 'n'"),
        (
            '{"models": {"a": {"path": "x", "aliases": ["b"]},\n"b": {"path": "y", "aliases": ["a"]}}}',
            "already means",
        ),
        ('{"models":\n}', ":2: is not JSON"),
        ("[]", "Expected `object`, got `array`"),
    ],
)
def test_refusals_say_which_file_where_and_what(tmp_path: Path, text: str, said: str) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(str(tmp_path / "models.json"))
    assert said in message


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="No such file"):
        Registry.load(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"models": "\xe9"}')
    with pytest.raises(RegistryError, match="not UTF-8"):
        Registry.load(tmp_path / "latin.json")


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, user = tmp_path / "work", tmp_path / "user"
    work.mkdir()
    user.mkdir()
    monkeypatch.chdir(work)
    assert find_file(None, None) is None
    assert find_file(None, user) is None
    in_user = write(user, "{}")
    assert find_file(None, user) == in_user
    in_work = write(work, "{}")
    assert find_file(None, user) == in_work
    assert find_file(Path("/asked.json"), user) == Path("/asked.json")
