"""What other programs have downloaded is taken over where it lies; what was pulled can be deleted."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import Repo, fake_hub

from native_host.client import Host, RpcError
from native_host.models.registry import BUILTIN_FILE, BUILTIN_NAME, BUILTIN_NAMES

ROOT = Path(__file__).parents[2]
MANIFESTS = "manifests/registry.example"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A home with nothing in it."""
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / ".cache"),
        **dict.fromkeys(("MODEL_CONFIG_PATH", "MODEL_CACHE_DIR", "OLLAMA_MODELS"), ""),
        **dict.fromkeys(("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN"), ""),
    }


@pytest.fixture
def host(env: dict[str, str]) -> Iterator[Host]:
    with Host.spawn(env=env) as host:
        yield host


def ollama_model(store: Path, place: str, layers: dict[str, bytes]) -> None:
    """Write a model as Ollama does: layers by their digests, and a manifest."""
    blobs = store / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    listed = []
    for kind, content in layers.items():
        digest = hashlib.sha256(content).hexdigest()
        (blobs / f"sha256-{digest}").write_bytes(content)
        media = f"application/vnd.ollama.image.{kind}"
        listed.append({"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)})
    manifest = store / MANIFESTS / place
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": listed}))


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def test_ollama_s_models_are_used_where_they_lie(host: Host, tmp_path: Path) -> None:
    store = tmp_path / ".ollama" / "models"
    params = b'{"temperature": 0, "num_ctx": 256, "stop": ["<|x|>"]}'
    weights = BUILTIN_FILE.read_bytes()
    full = {"model": weights, "template": b"{{ .Prompt }}", "params": params, "system": b"Be brief."}
    ollama_model(store, "library/demo/latest", full)
    ollama_model(store, "library/broken/1b", {"model": b"this is no model" * 100})
    ollama_model(store, "someone/gone/latest", {"license": b"MIT"})
    before = snapshot(store)

    found = {model.model: model for model in host.import_models("ollama").models}
    assert {name: model.status for name, model in found.items()} == {"demo": "added", "broken-1b": "unusable"}
    assert found["demo"].notes == [
        "the chat template is the GGUF file's own, not Ollama's",
        "parameters without a counterpart: stop",
    ]
    entry = json.loads((tmp_path / "config/native-host/models.json").read_text())["models"]["demo"]
    assert entry["system_prompt"] == "Be brief."
    assert entry["sampling"] == {"temperature": 0}
    assert entry["context_length"] == 256
    assert host.chat("What is a worker?", model="demo", max_tokens=5).result.usage.completion_tokens == 5
    again = host.import_models("ollama").models
    assert {model.model: model.status for model in again} == {"demo": "known", "broken-1b": "unusable"}
    assert snapshot(store) == before


def test_a_dry_run_changes_nothing(host: Host, tmp_path: Path) -> None:
    ollama_model(tmp_path / ".ollama/models", "library/demo/latest", {"model": BUILTIN_FILE.read_bytes()})
    shown = host.import_models("ollama", dry_run=True)
    assert [(model.model, model.status) for model in shown.models] == [("demo", "added")]
    assert not Path(shown.models_file).exists()
    assert [model.name for model in host.models()] == [*BUILTIN_NAMES]


def test_lm_studio_s_models_at_the_place_that_its_settings_name(host: Host, tmp_path: Path) -> None:
    models = tmp_path / "my-models"
    settings = tmp_path / ".lmstudio" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"downloadsFolder": str(models)}))
    folder = models / "publisher" / "Small-Model-GGUF"
    folder.mkdir(parents=True)
    (folder / "Small-Model-F16.gguf").symlink_to(BUILTIN_FILE)
    (folder / "mmproj-F16.gguf").write_bytes(b"pictures")
    before = snapshot(models)
    found = host.import_models("lmstudio").models
    assert [(model.model, model.status) for model in found] == [("small-model", "added")]
    assert snapshot(models) == before


def test_the_hub_s_cache_gives_its_newest_snapshots(host: Host, tmp_path: Path) -> None:
    repository = tmp_path / ".cache/huggingface/hub/models--owner--Tiny-Model"
    for commit, text in (("aaa", "old"), ("bbb", "new")):
        snapshot_folder = repository / "snapshots" / commit
        snapshot_folder.mkdir(parents=True)
        blob = repository / "blobs" / f"config-{text}"
        blob.parent.mkdir(exist_ok=True)
        blob.write_text("{}")
        (snapshot_folder / "config.json").symlink_to(blob)
        (snapshot_folder / "model.safetensors").symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbb")
    found = host.import_models("huggingface").models
    assert [(model.model, model.format) for model in found] == [("tiny-model", "safetensors")]
    assert found[0].path == str(repository / "snapshots" / "bbb")


def test_a_folder_of_files(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "tensors").mkdir(parents=True)
    (folder / "a-Q4_0.gguf").symlink_to(BUILTIN_FILE)
    (folder / "a-Q8_0.gguf").symlink_to(BUILTIN_FILE)
    (folder / "big-00002-of-00003.gguf").symlink_to(BUILTIN_FILE)
    (folder / "notes.txt").write_text("x")
    (folder / "tensors" / "config.json").write_text("{}")
    (folder / "tensors" / "model.safetensors").write_bytes(b"x")
    found = host.import_models(folder).models
    assert [(model.model, model.format) for model in found] == [
        ("a", "gguf"),
        ("a-q8_0", "gguf"),
        ("tensors", "safetensors"),
    ]


@pytest.mark.parametrize("origin", ["ollama", "lmstudio", "huggingface", "nonsense", "/no/such/folder"])
def test_what_is_not_there_is_told(host: Host, origin: str) -> None:
    with pytest.raises(RpcError) as refused:
        host.import_models(origin)
    assert refused.value.kind == "invalid_params"
    assert refused.value.data["path"] == "from"


def test_a_pulled_model_is_deleted_with_its_files(env: dict[str, str], tmp_path: Path) -> None:
    with fake_hub() as hub:
        weights = BUILTIN_FILE.read_bytes()
        hub.repos["owner/m"] = Repo({"m-F16.gguf": weights, "m-Q8_0.gguf": weights + b"\0"})
        with Host.spawn(env={**env, "HF_ENDPOINT": hub.address, "NO_PROXY": "*"}) as host:
            full = host.pull("hf:owner/m:F16", name="full")
            host.generate("x", model="full", max_tokens=1)
            host.pull("hf:owner/m:Q8_0", name="small")
            gone = host.delete("full")
            assert gone.removed_files == [full.path]
            assert gone.freed_bytes == len(weights)
            left = {model.name: model.state for model in host.models()}
            assert left == {"small": "available", **dict.fromkeys(BUILTIN_NAMES, "available")}
            host.delete("small")
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_what_was_not_pulled_is_kept(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(BUILTIN_FILE.read_bytes())
    host.pull(f"file:{file}")
    gone = host.delete("mine")
    assert gone.kept == f"{file} was not pulled, so it is not ours to remove"
    assert file.exists()
    assert [model.name for model in host.models()] == [*BUILTIN_NAMES]


def test_the_built_in_model_stays(host: Host) -> None:
    with pytest.raises(RpcError, match="built in and stays"):
        host.delete(BUILTIN_NAME)


def test_a_model_in_use_is_deleted_by_force_only(host: Host, slow_model: Path) -> None:
    host.pull(f"file:{slow_model}")
    answer = host.stream("x", model="slow", max_tokens=100_000, ignore_eos=True)
    pieces = iter(answer)  # kept: letting go of it would cancel the answer
    next(pieces)
    with pytest.raises(RpcError, match="is in use"):
        host.delete("slow")
    host.delete("slow", force=True)
    with pytest.raises(RpcError) as ended:
        answer.result  # noqa: B018 -- asking is what raises
    assert ended.value.kind == "cancelled"


def test_the_command_line_imports_and_deletes(env: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "small.gguf").symlink_to(BUILTIN_FILE)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "native_host", "models", *arguments]
        ran = subprocess.run(
            command, env={**_environment(), **env}, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return ran.stdout

    assert "would be added" in run("import", "files", "--dry-run")
    assert "added" in run("import", str(folder))
    assert json.loads(run("import", "./files", "--json"))["models"][0]["status"] == "known"
    assert "kept: " in run("delete", "small")


SCRIPT = """
import sys
from native_host.models.sources import ModelCache

cache = ModelCache("cache")
assert not cache.has_file("owner/m", "Q8_0.gguf")
seen = []
path = cache.download_quant("owner/m", "Q8_0", on_progress=lambda done, total: seen.append((done, total)))
assert cache.has_file("owner/m", "Q8_0.gguf") and cache.has_file("owner/m", "m-Q8_0.gguf")
assert cache.get_path("owner/m", "Q8_0.gguf") == path == cache.get_path("owner/m", "m-Q8_0.gguf")
assert seen[-1] == (path.stat().st_size,) * 2
try:
    cache.get_path("owner/m", "F16.gguf")
except FileNotFoundError as error:
    print(error)
import tabagent_model
model = tabagent_model.PyModel()
model.load(tabagent_model.get_optimal_binary("llama.dll"), path)
print(model.vocab_size())
"""


def test_scripts_download_without_a_host(env: dict[str, str], tmp_path: Path) -> None:
    with fake_hub() as hub:
        hub.repos["owner/m"] = Repo({"m-F16.gguf": b"x" * 5000, "m-Q8_0.gguf": BUILTIN_FILE.read_bytes()})
        environment = {**_environment(), **env, "HF_ENDPOINT": hub.address, "NO_PROXY": "*"}
        command = [sys.executable, "-c", SCRIPT]
        ran = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert ran.returncode == 0, ran.stderr
    assert "F16.gguf of owner/m is not here" in ran.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
