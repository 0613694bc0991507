"""Counters, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from native_host.telemetry.metrics import Counters, ModelFigures


def samples(text: str) -> dict[str, float]:
    """`name{label="value",…}` to its value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_requests_tokens_and_times() -> None:
    counters = Counters()
    for streaming in (True, False, True):
        counters.begun(streaming)
    counters.ended("chat", "ok", 0.2, "key:botserver", streaming=True)
    counters.ended("chat", "cancelled", 400.0, "local", streaming=False)
    counters.used("tiny", "key:botserver", {"prompt": 5, "completion": 7, "cached": 4})
    found = samples(counters.exposition([], {}, 1.5))
    assert found['native_host_requests_total{method="chat",outcome="ok"}'] == 1
    assert found['native_host_requests_total{method="chat",outcome="cancelled"}'] == 1
    assert found["native_host_requests_in_flight"] == 1
    assert found["native_host_streams_active"] == 1
    assert found['native_host_tokens_total{kind="completion",model="tiny"}'] == 7
    assert found['native_host_identity_requests_total{identity="key:botserver"}'] == 1
    assert found['native_host_identity_tokens_total{identity="key:botserver"}'] == 12
    assert found['native_host_request_seconds_bucket{le="0.1",method="chat"}'] == 0
    assert found['native_host_request_seconds_bucket{le="0.25",method="chat"}'] == 1
    assert found['native_host_request_seconds_bucket{le="+Inf",method="chat"}'] == 2
    assert found['native_host_request_seconds_sum{method="chat"}'] == 400.2
    assert found["native_host_uptime_seconds"] == 1.5
    assert found["process_resident_memory_bytes"] > 0


def test_models_with_awkward_names() -> None:
    name = 'a "model"\\ of\nmine'
    figures = [ModelFigures(name, True, 1024, 2), ModelFigures("other", False, None, 0)]
    text = Counters().exposition(figures, {(name, "loaded", ""): 3}, 0.0)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    memory = families["native_host_model_memory_bytes"].samples
    assert [(sample.labels["model"], sample.value) for sample in memory] == [(name, 1024)]
    loaded = families["native_host_model_loaded"].samples
    assert [sample.value for sample in loaded] == [1.0, 0.0]
    events = families["native_host_model_events"].samples
    assert [(sample.labels["event"], sample.value) for sample in events] == [("loaded", 3)]
