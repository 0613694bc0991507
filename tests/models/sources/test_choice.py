"""Which files of a repository are fetched."""

from __future__ import annotations

import pytest

from native_host.models.sources.choice import NothingToChooseError, choose, quantization_of

GGUFS = [
    "README.md",
    "model-F16.gguf",
    "model-Q4_K_M.gguf",
    "model-Q8_0.gguf",
    "model.IQ3_M.gguf",
    "mmproj-model-F16.gguf",
    "model.imatrix.gguf",
]
TENSORS = [
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "onnx/model.onnx",
    "onnx/model_q4.onnx",
    "onnx/model_q4.onnx_data",
    "openvino/model.bin",
    "pytorch_model.bin",
    "rust_model.ot",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "modules.json",
    "code.py",
]


def test_one_quantization_is_chosen_the_usual_one_first() -> None:
    assert choose(GGUFS).files == ["model-Q4_K_M.gguf"]
    assert choose([path for path in GGUFS if "Q4" not in path]).files == ["model-Q8_0.gguf"]


@pytest.mark.parametrize("wanted", ["Q8_0", "q8_0", "model-Q8_0.gguf"])
def test_the_one_that_is_wanted(wanted: str) -> None:
    choice = choose(GGUFS, wanted)
    assert (choice.files, choice.label, choice.model) == (["model-Q8_0.gguf"], "Q8_0", "model-Q8_0.gguf")


def test_one_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(NothingToChooseError, match="it has no 'Q5_K_M'; it has Q4_K_M, Q8_0, IQ3_M, F16"):
        choose(GGUFS, "Q5_K_M")


def test_a_split_model_is_all_its_parts_and_named_by_the_first() -> None:
    parts = [f"Q6_K/big-Q6_K-{n:05}-of-00003.gguf" for n in (1, 2, 3)]
    choice = choose([*reversed(parts), "small-F16.gguf"])
    assert (choice.files, choice.label, choice.model) == (parts, "Q6_K", parts[0])


def test_a_split_model_without_all_its_parts_is_no_choice() -> None:
    with pytest.raises(NothingToChooseError, match="not all parts are there"):
        choose(["big-Q6_K-00001-of-00002.gguf"])


def test_safetensors_come_with_config_and_tokenizer_and_without_pickles_or_code() -> None:
    choice = choose(TENSORS)
    assert (choice.format, choice.model) == ("safetensors", "")
    assert choice.files == sorted(
        path for path in TENSORS if path.endswith(".json") or path == "model.safetensors"
    )


def test_sharded_safetensors_come_with_their_index() -> None:
    shards = [f"model-{n:05}-of-00002.safetensors" for n in (1, 2)]
    index = "model.safetensors.index.json"
    choice = choose(["config.json", index, *shards, "consolidated.safetensors"])
    assert choice.files == sorted(["config.json", index, *shards])


def test_onnx_is_one_graph_with_its_data() -> None:
    plain = choose(TENSORS, "onnx")
    assert "onnx/model.onnx" in plain.files
    assert "onnx/model_q4.onnx" not in plain.files
    small = choose(TENSORS, "q4")
    assert {"onnx/model_q4.onnx", "onnx/model_q4.onnx_data", "config.json"} < set(small.files)
    assert not any(path.endswith((".bin", ".safetensors", ".py")) for path in small.files)


def test_a_genai_folder_is_taken_whole() -> None:
    inside = [
        f"cpu-int4/{name}"
        for name in ("genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json")
    ]
    choice = choose(["README.md", *inside, "cuda/genai_config.json", "cuda/model.onnx"], "cpu-int4")
    assert (choice.format, choice.model, choice.files) == ("onnx", "cpu-int4", sorted(inside))


def test_pickles_are_refused_with_the_reason() -> None:
    with pytest.raises(NothingToChooseError, match="pickles"):
        choose(["config.json", "pytorch_model.bin"])


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("llama-2-7b.q5_0.gguf", "Q5_0"),
        ("UD-IQ2_XXS/model-UD-IQ2_XXS-00001-of-00002.gguf", "IQ2_XXS"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("model.gguf", None),
    ],
)
def test_a_file_s_name_tells_its_quantization(name: str, label: str | None) -> None:
    assert quantization_of(name) == label
