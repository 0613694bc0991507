"""Counts what happens, in plain numbers, and tells it as Prometheus text when asked.

Counting imports nothing, since it is on the way to the first `ping`; prometheus_client is imported by the
first question. Labels come from small sets: methods, kinds of errors, names of models and keys. Nothing
that a peer makes up becomes one.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram of request times."""


class ModelFigures(msgspec.Struct, frozen=True):
    """What is known of a model at the moment of the answer."""

    name: str
    loaded: bool
    memory_bytes: int | None
    requests: int


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        total, found = 0, []
        for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Counters:
    """Of one host process. `in_flight` and `streams` are how many there are now."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.streams = 0
        self._requests: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, _Histogram] = {}
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._identities: Counter[str] = Counter()
        self._identity_tokens: Counter[str] = Counter()

    def begun(self, streaming: bool) -> None:
        """A request has begun."""
        self.in_flight += 1
        self.streams += streaming

    def ended(self, method: str, outcome: str, seconds: float, identity: str, streaming: bool) -> None:
        """It has its answer: `ok`, or the kind of its error."""
        self.in_flight -= 1
        self.streams -= streaming
        self._requests[method, outcome] += 1
        self._seconds.setdefault(method, _Histogram()).observe(seconds)
        self._identities[identity] += 1

    def used(self, model: str, identity: str, tokens: Mapping[str, int]) -> None:
        """Tokens that a request has used, by kind: `prompt`, `completion`, `cached` (of the prompt)."""
        for kind, count in tokens.items():
            self._tokens[model, kind] += count
        self._identity_tokens[identity] += tokens.get("prompt", 0) + tokens.get("completion", 0)

    def exposition(
        self,
        models: Iterable[ModelFigures],
        model_events: Mapping[tuple[str, str, str], int],
        uptime_s: float,
    ) -> str:
        """Everything as Prometheus text. `model_events` counts by model, event and reason."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        counters = self

        class Collector:
            def collect(self) -> Iterable[Metric]:
                yield from counters._families()
                yield from _model_families(models, model_events, uptime_s)

        registry = CollectorRegistry()
        registry.register(Collector())
        ProcessCollector(registry=registry)
        return generate_latest(registry).decode()

    def _families(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "native_host_requests", "Requests answered.", labels=["method", "outcome"]
        )
        for labels, count in self._requests.items():
            requests.add_metric(list(labels), count)
        seconds = HistogramMetricFamily(
            "native_host_request_seconds", "From a request to its answer.", labels=["method"]
        )
        for method, histogram in self._seconds.items():
            seconds.add_metric([method], histogram.cumulative(), histogram.sum)
        tokens = CounterMetricFamily("native_host_tokens", "Tokens by model.", labels=["model", "kind"])
        for labels, count in self._tokens.items():
            tokens.add_metric(list(labels), count)
        identities = CounterMetricFamily(
            "native_host_identity_requests", "Requests by whoever asked.", labels=["identity"]
        )
        for identity, count in self._identities.items():
            identities.add_metric([identity], count)
        identity_tokens = CounterMetricFamily(
            "native_host_identity_tokens", "Tokens, read and written, by whoever asked.", labels=["identity"]
        )
        for identity, count in self._identity_tokens.items():
            identity_tokens.add_metric([identity], count)
        yield from (requests, seconds, tokens, identities, identity_tokens)
        yield GaugeMetricFamily(
            "native_host_requests_in_flight", "Requests without an answer yet.", value=self.in_flight
        )
        yield GaugeMetricFamily("native_host_streams_active", "Those that stream.", value=self.streams)


def _model_families(
    models: Iterable[ModelFigures], events: Mapping[tuple[str, str, str], int], uptime_s: float
) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    loaded = GaugeMetricFamily("native_host_model_loaded", "1 where a worker has it.", labels=["model"])
    memory = GaugeMetricFamily("native_host_model_memory_bytes", "What its worker holds.", labels=["model"])
    using = GaugeMetricFamily("native_host_model_requests", "Who uses or awaits it.", labels=["model"])
    for model in models:
        loaded.add_metric([model.name], float(model.loaded))
        using.add_metric([model.name], model.requests)
        if model.memory_bytes is not None:
            memory.add_metric([model.name], model.memory_bytes)
    happened = CounterMetricFamily(
        "native_host_model_events", "Changes in workers' lives.", labels=["model", "event", "reason"]
    )
    for labels, count in events.items():
        happened.add_metric(list(labels), count)
    yield from (loaded, memory, using, happened)
    yield GaugeMetricFamily("native_host_uptime_seconds", "Since the host began.", value=uptime_s)
