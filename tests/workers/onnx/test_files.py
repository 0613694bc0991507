"""What is refused of a graph before onnxruntime sees it."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest

from native_host.protocol.errors import RpcError
from native_host.workers.backends.onnx.files import find_graph
from native_host.workers.backends.onnx.opening import open_folder
from native_host.workers.messages import LoadOptions


def refusal(folder: Path) -> RpcError:
    with pytest.raises(RpcError) as refused:
        find_graph(folder)
    return refused.value


def with_weights_beside(folder: Path) -> Path:
    """Move the weights to a file of their own; answers where they are."""
    graph = onnx.load(folder / "model.onnx")
    onnx.save_model(graph, folder / "model.onnx", save_as_external_data=True, location="weights.data")
    return folder / "weights.data"


def test_the_graph_is_found_and_read(folder: Path) -> None:
    graph = find_graph(folder)
    assert graph.path == folder / "model.onnx"
    assert "GroupQueryAttention" in graph.operators
    weights = with_weights_beside(folder)
    assert find_graph(folder).bytes == weights.stat().st_size + (folder / "model.onnx").stat().st_size


def test_a_folder_without_genai_config_is_searched(folder: Path) -> None:
    (folder / "genai_config.json").unlink()
    (folder / "model.onnx").rename(folder / "other.onnx")
    assert find_graph(folder).path.name == "other.onnx"
    (folder / "second.onnx").touch()
    assert "other.onnx, second.onnx" in refusal(folder).message


def test_weights_elsewhere(folder: Path, tmp_path: Path) -> None:
    weights = with_weights_beside(folder)
    weights.rename(tmp_path / "outside.data")
    assert "cannot be read" in refusal(folder).message
    weights.symlink_to(tmp_path / "outside.data")
    assert "leads out" in refusal(folder).message
    weights.unlink()
    os.link(tmp_path / "outside.data", weights)
    assert "hard link" in refusal(folder).message


def test_weights_by_a_path_that_leads_out(folder: Path, tmp_path: Path) -> None:
    with_weights_beside(folder).rename(tmp_path / "outside.data")
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../outside.data"
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    error = refusal(folder)
    assert error.kind == "invalid_model_file"
    assert "leads out" in error.message


def test_the_graph_itself_may_not_be_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "model.onnx").rename(tmp_path / "graph.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "graph.onnx")
    assert "leads out" in refusal(folder).message


def in_a_hubs_cache(folder: Path, cache: Path) -> Path:
    """A folder's files as the hub's libraries keep them; answers the snapshot."""
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "0123abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(blobs / f"{number:064x}")
        (snapshot / file.name).symlink_to(Path("../../blobs") / f"{number:064x}")
    return snapshot


def test_links_of_a_hubs_cache_are_its_own_files(folder: Path, tmp_path: Path) -> None:
    weights = with_weights_beside(folder).stat().st_size
    snapshot = in_a_hubs_cache(folder, tmp_path / "models--owner--name")
    assert find_graph(snapshot).bytes == weights + (snapshot / "model.onnx").stat().st_size
    backend = open_folder(str(snapshot), LoadOptions(threads=1), lambda _: None)
    assert "generate" in backend.info.capabilities
    backend.close()


def test_links_of_a_hubs_cache_that_lead_elsewhere(folder: Path, tmp_path: Path) -> None:
    with_weights_beside(folder)
    snapshot = in_a_hubs_cache(folder, tmp_path / "models--owner--name")
    other = tmp_path / "models--owner--other" / "blobs"
    other.mkdir(parents=True)
    (snapshot / "weights.data").resolve().rename(other / "secret")
    (snapshot / "weights.data").unlink()
    (snapshot / "weights.data").symlink_to(other / "secret")
    assert "leads out" in refusal(snapshot).message


def test_custom_operators_inside_a_branch(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    inner = onnx.helper.make_node("Evil", ["x"], ["y"], domain="some.library")
    branch = onnx.helper.make_graph([inner], "branch", [], [])
    graph.graph.node.append(onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))
    onnx.save_model(graph, folder / "model.onnx")
    error = refusal(folder)
    assert error.kind == "unsupported"
    assert "some.library.Evil" in error.message


def test_what_is_no_graph(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no graph" * 100)
    assert refusal(folder).kind == "invalid_model_file"
    (folder / "genai_config.json").write_text("{}")
    (folder / "model.onnx").unlink()
    assert "model.onnx" in refusal(folder).message
