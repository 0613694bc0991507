"""LoRA adapters through `tabagent_model`: chosen by request, never mixed, refused where they do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
import random_adapters
import tabagent_model
from tabagent_model import Engine, InvalidArgumentError, InvalidGgufError, ModelFileNotFoundError

from native_host.models.registry import BUILTIN_FILE

PROMPT = "<|im_start|>user\nWhat is the KV cache?<|im_end|>\n<|im_start|>assistant\n"
Uses = list[tuple[str, float]]
Answer = tuple[list[int], int]
"""Tokens, and how many of the prompt's were computed already."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path, float]]:
    folder = tmp_path_factory.mktemp("adapters")
    return [
        ("one", random_adapters.write_gguf(folder / "one.gguf", 1), 1.0),
        ("two", random_adapters.write_gguf(folder / "two.gguf", 2), 1.0),
        ("half", folder / "one.gguf", 0.5),
    ]


@pytest.fixture(scope="module")
def engine(files: list[tuple[str, Path, float]]) -> Iterator[Engine]:
    with Engine(
        BUILTIN_FILE, threads=1, parallel=8, kv_type="f32", flash_attention=False, adapters=[*files]
    ) as engine:
        yield engine


def submit(engine: Engine, uses: Uses, identity: int) -> int:
    return engine.submit(
        PROMPT,
        max_tokens=24,
        temperature=0,
        ignore_eos=True,
        parse_special=True,
        identity=identity,
        adapters=uses,
    )


def answers(engine: Engine, requests: list[int]) -> list[Answer]:
    """What becomes of requests."""
    tokens: dict[int, list[int]] = {request: [] for request in requests}
    cached: dict[int, int] = {}
    while len(cached) < len(requests):
        for event in engine.drain():
            assert event["type"] != "failed", event
            if event["type"] == "piece":
                tokens[event["request"]] += [token["token"] for token in event["tokens"]]
            elif event["type"] == "finished":
                cached[event["request"]] = event["usage"]["cached_tokens"]
    return [(tokens[request], cached[request]) for request in requests]


def alone(engine: Engine, uses: Uses, identity: int = 0) -> Answer:
    return answers(engine, [submit(engine, uses, identity)])[0]


def test_an_adapter_changes_the_answer_as_much_as_its_scale_says(engine: Engine) -> None:
    plain, one, two = (alone(engine, uses)[0] for uses in ([], [("one", 1.0)], [("two", 1.0)]))
    both = alone(engine, [("one", 1.0), ("two", 1.0)])[0]
    assert len({tuple(each) for each in (plain, one, two, both)}) == 4
    assert alone(engine, [("one", 0.0)])[0] == plain
    assert alone(engine, [("half", 2.0)])[0] == one
    assert alone(engine, [("two", 1.0), ("one", 1.0)])[0] == both


def test_adapters_in_flight_together_do_not_mix(engine: Engine) -> None:
    sets: list[Uses] = [[], [("one", 1.0)], [("two", 1.0)], [("one", 0.5), ("two", -1.0)]]
    lone = [alone(engine, uses)[0] for uses in sets]
    assert len({tuple(tokens) for tokens in lone}) == len(sets)
    requests = [submit(engine, uses, identity) for identity in (11, 12) for uses in sets]
    assert [tokens for tokens, _ in answers(engine, requests)] == lone * 2


def test_a_computed_prefix_serves_its_own_set_only(engine: Engine) -> None:
    cached = [alone(engine, uses, 21)[1] for uses in ([("one", 1.0)], [("one", 1.0)], [("one", 0.9)], [])]
    assert cached[0] == cached[2] == cached[3] == 0 < cached[1]


def test_what_a_request_cannot_choose(engine: Engine) -> None:
    with pytest.raises(InvalidArgumentError, match='adapters name "three"; loaded are one, two, half'):
        submit(engine, [("three", 1.0)], 0)
    with pytest.raises(InvalidArgumentError, match="adapters name one adapter twice"):
        submit(engine, [("one", 1.0), ("one", 1.0)], 0)
    with pytest.raises(InvalidArgumentError, match="not a finite number"):
        submit(engine, [("one", float("nan"))], 0)


def test_the_same_name_twice(files: list[tuple[str, Path, float]]) -> None:
    with pytest.raises(InvalidArgumentError, match='adapters name "one" twice'):
        Engine(BUILTIN_FILE, adapters=[files[0], files[0]])


@pytest.mark.parametrize(
    ("tensor", "shapes", "problem"),
    [
        ("blk.0.attn_q.weight", ((4, 128), (256, 4)), "attn_q.weight.lora_a"),
        ("blk.0.attn_q.weight", ((4, 256), (256, 8)), "attn_q.weight.lora_a"),
        ("blk.9.attn_q.weight", ((4, 256), (256, 4)), "does not have"),
        # The built-in model's output is this table too: llama.cpp would multiply it the wrong way round.
        ("token_embd.weight", ((3072, 4), (256, 4)), "the model's output as well"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, tensor: str, shapes: tuple[tuple[int, int], tuple[int, int]], problem: str
) -> None:
    path = tmp_path / "adapter.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    for factor, shape in zip(("lora_a", "lora_b"), shapes, strict=True):
        writer.add_tensor(f"{tensor}.{factor}", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(InvalidGgufError, match=problem) as refused:
        Engine(BUILTIN_FILE, adapters=[("a", path, 1.0)])
    assert str(refused.value).startswith(f"{path}: ")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidGgufError, match=r"general\.type"):
        Engine(BUILTIN_FILE, adapters=[("a", BUILTIN_FILE, 1.0)])
    with pytest.raises(ModelFileNotFoundError, match="nowhere"):
        Engine(BUILTIN_FILE, adapters=[("a", tmp_path / "nowhere.gguf", 1.0)])


def test_memory_is_foreseen(files: list[tuple[str, Path, float]]) -> None:
    plain = tabagent_model.estimate_memory(BUILTIN_FILE)
    with_one = tabagent_model.estimate_memory(BUILTIN_FILE, adapters=[files[0]])
    assert with_one["weights_bytes"] - plain["weights_bytes"] == files[0][1].stat().st_size
