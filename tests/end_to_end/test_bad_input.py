"""Whatever is wrong with a request or a model file has a named, clear error; and the host goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from native_host.client import Host
from native_host.protocol.errors import RpcError


@pytest.fixture(scope="module")
def shared(models_file: Path) -> Host:
    """One host for all: none of this may harm it."""
    return Host.spawn(models=models_file)


@pytest.fixture(autouse=True, scope="module")
def _close(shared: Host) -> object:
    yield
    shared.close()


def refusal(host: Host, method: str, params: dict[str, object]) -> RpcError:
    with pytest.raises(RpcError) as caught:
        host.call(method, params)
    # A right request after it still works.
    assert host.generate("hello", max_tokens=1).usage.completion_tokens == 1
    return caught.value


@pytest.mark.parametrize(
    ("model", "kind", "said"),
    [
        ("absent", "model_absent", "absent.gguf"),
        ("folder", "invalid_model_file", "folder"),
        ("truncated", "invalid_model_file", "truncated.gguf"),
        ("text", "invalid_model_file", "text.gguf"),
        ("magic", "invalid_model_file", "magic.gguf"),
        ("counts", "invalid_model_file", "counts.gguf"),
        ("tensors", "model_absent", "tensors"),
        ("tinny", "model_not_found", "tiny"),
    ],
)
def test_models(shared: Host, model: str, kind: str, said: str) -> None:
    for method, params in (
        ("generate", {"prompt": "hello"}),
        ("models.load", {}),
        ("models.inspect", {}),
    ):
        error = refusal(shared, method, {"model": model, **params})
        assert error.kind == kind
        assert said in error.message


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [999_999]}, "prompt[0]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": 5}, "prompt"),
        ({"prompts": []}, "prompts"),
        ({"prompts": ["a", ""]}, "prompts[1]"),
        ({"prompt": "x", "prompts": ["x"]}, "prompts"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 2**70}, "max_tokens"),
        ({"prompt": "x", "top_k": 2**40}, "top_k"),
        ({"prompt": "x", "temperature": -0.1}, "temperature"),
        ({"prompt": "x", "top_p": 1.1}, "top_p"),
        ({"prompt": "x", "top_k": -1}, "top_k"),
        ({"prompt": "x", "min_p": 2}, "min_p"),
        ({"prompt": "x", "seed": -1}, "seed"),
        ({"prompt": "x", "stop": [""]}, "stop[0]"),
        ({"prompt": "x", "stop": ["s"] * 100}, "stop"),
        ({"prompt": "x", "stop": "s" * 100_000}, "stop"),
        ({"prompt": "x", "logprobs": 21}, "logprobs"),
        ({"prompt": "x", "timeout_s": 0}, "timeout_s"),
        ({"prompt": "x", "logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"prompt": "x", "temprature": 1}, "temprature"),
    ],
)
def test_params_of_generate(shared: Host, params: dict[str, object], path: str) -> None:
    error = refusal(shared, "generate", params)
    assert error.kind == "invalid_params"
    assert error.data["path"] == path


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        ("chat", {"messages": []}, "invalid_params"),
        ("chat", {"messages": [{"role": "king", "content": "x"}]}, "invalid_params"),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "unsupported"),
        ("chat", {"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, "invalid_params"),
        ("generate", {"prompt": "x", "adapters": [{"name": "a"}]}, "adapter_not_found"),
        ("generate", {"prompt": "x", "session": "s"}, "invalid_params"),
        ("generate", {"prompt": "x", "resumable": True}, "invalid_params"),
        ("detokenize", {"tokens": [999_999]}, "invalid_params"),
        ("models.inspect", {"path": "/nowhere/at/all.gguf"}, "invalid_model_file"),
        ("models.inspect", {"path": "/tmp"}, "invalid_model_file"),
        ("models.unload", {"model": "nobody"}, "model_not_found"),
    ],
)
def test_other_methods(shared: Host, method: str, params: dict[str, object], kind: str) -> None:
    assert refusal(shared, method, params).kind == kind


def test_a_prompt_longer_than_the_context(shared: Host) -> None:
    error = refusal(shared, "generate", {"prompt": "word " * 5000})
    assert error.kind == "input_too_long"
    assert error.data["tokens"] > error.data["limit"] == 2047


def test_a_prompt_that_no_tokens_could_make_fit_is_refused_by_its_bytes(shared: Host) -> None:
    prompt = "x" * 2_000_000
    asked: dict[str, dict[str, object]] = {
        "generate": {"prompt": prompt},
        "chat": {"messages": [{"role": "user", "content": prompt}]},
    }
    for method, params in asked.items():
        error = refusal(shared, method, params)
        assert error.kind == "input_too_long"
        assert error.data["bytes"] > error.data["limit"] == 2048 * 512


def test_a_plain_response_format_is_accepted(shared: Host) -> None:
    params = {"prompt": "hello", "max_tokens": 1, "response_format": {"type": "text"}}
    assert isinstance(shared.call("generate", params), dict)


def test_a_timeout_says_what_there_was(shared: Host, slow_model: Path) -> None:
    shared.load("slow")
    with pytest.raises(RpcError) as caught:
        shared.generate("hello", model="slow", max_tokens=4000, ignore_eos=True, timeout_s=1.0)
    assert caught.value.kind == "timeout"
    assert caught.value.data["usage"]["completion_tokens"] > 0


def test_what_a_load_may_not_override_is_named(shared: Host) -> None:
    for name in ("kv_cache_tokens", "parallel"):
        assert refusal(shared, "models.load", {"model": "tiny", name: 2_000_000_000}).data["path"] == name


def test_more_threads_than_processors_are_not_asked_for(shared: Host) -> None:
    shared.load("tiny", threads=1_000_000)
    assert shared.generate("a", model="tiny", max_tokens=2, ignore_eos=True).usage.completion_tokens == 2


def test_a_model_stays_loaded_where_what_is_to_take_its_place_is_refused(shared: Host) -> None:
    shared.load("tiny")
    for given in (
        {"context_length": 2_000_000_000},
        {"parallel": 1_000_000},
        {"kv_type": "f32", "flash_attention": "no"},
    ):
        assert refusal(shared, "models.load", {"model": "tiny", **given}).kind == "invalid_params"
        (state,) = [model.state for model in shared.models() if model.name == "tiny"]
        assert state == "loaded"


def test_layers_on_a_gpu_that_is_not_there_are_refused_with_the_way_out(shared: Host) -> None:
    if shared.hardware().gpus:  # then they may be welcome
        return
    shared.load("tiny")
    for method in ("models.load", "models.estimate"):
        problem = refusal(shared, method, {"model": "tiny", "gpu_layers": 1})
        assert problem.kind == "unsupported"
        assert "gpu_layers" in problem.data["feature"]
    (state,) = [model.state for model in shared.models() if model.name == "tiny"]
    assert state == "loaded"


def test_the_list_and_the_inspection(shared: Host) -> None:
    listed = {model.name: model for model in shared.models()}
    assert listed["tiny"].state in ("available", "loaded")
    assert listed["tiny"].context_length == 2048
    assert listed["tiny"].capabilities == ["generate", "chat", "embed", "tokenize"]
    assert (listed["absent"].state, listed["absent"].size_bytes) == ("absent", None)
    inspected = shared.inspect("tiny")
    assert inspected.details["context_shift"] is True
    assert (inspected.architecture, inspected.format, inspected.vocab_size) == ("llama", "gguf", 2048)


def test_hardware(shared: Host) -> None:
    info = shared.hardware()
    assert info.cpu_variant.startswith("bitnet-")
    assert str(info.runtime["path"]).endswith("libllama.so")
