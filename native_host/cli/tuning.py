"""Finds the settings with which a model is fastest on this machine, by trying them one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from native_host.cli.measuring import ROUNDS, SMALL, Sizes, Speed, measured_speed
from native_host.client import Host, LoadOptions, RpcError

TYPICAL = Sizes(prompt=512, generated=128)
"""What the settings are judged by: the time of a prompt and an answer of these sizes."""
LEAST_GAIN = 1.05
"""Less is the machine's own drift, and leaves a setting as it is."""
SECONDS_A_TRIAL = 6.0
"""About how long a trial computes, however slow the model is."""

Setting = Literal["threads", "flash_attention", "kv_type"]
Value = str | int | None
Settings = dict[Setting, Value]
Measure = Callable[[Settings], Speed]
Heard = Callable[["Trial"], None]


class Trial(msgspec.Struct, frozen=True):
    """Settings, and what they gave; a setting that is None is left to the host. `seconds` is for a typical
    request. `problem` says why there are no figures.
    """

    settings: Settings
    speed: Speed | None = None
    seconds: float | None = None
    problem: str | None = None


class Found(msgspec.Struct, frozen=True):
    """Everything that was tried, the first of it with no setting made, and the best."""

    trials: list[Trial]
    best: Trial


class UntunableError(Exception):
    """The model does not load, or does not answer, with no setting made; the text says why."""


def choices(cores: int) -> dict[Setting, list[Value]]:
    """What there is to try, in the order in which it is tried. `q8_0` halves the cache and rounds it."""
    powers = [1 << power for power in range(cores.bit_length()) if 1 << power < cores]
    return {
        "threads": [*powers, cores],
        "flash_attention": ["on", "off"],
        "kv_type": ["q8_0"],
    }


def count(cores: int) -> int:
    """How many trials there will be."""
    return 1 + sum(len(values) for values in choices(cores).values())


def tune(measure: Measure, cores: int, heard: Heard) -> Found:
    """Change one setting at a time, and keep what gains. `heard` is told of every trial.

    Raises UntunableError where the model cannot be measured at all; where settings are refused, the trial
    says so.
    """
    best = _tried(measure, {})
    if best.problem is not None:
        raise UntunableError(best.problem)
    heard(best)
    trials = [best]
    for setting, values in choices(cores).items():
        for value in values:
            trial = _tried(measure, {**best.settings, setting: value})
            heard(trial)
            trials.append(trial)
        best = _best(best, trials)
    return Found(trials, best)


def _tried(measure: Measure, settings: Settings) -> Trial:
    try:
        speed = measure(settings)
    except RpcError as error:
        return Trial(settings, problem=str(error))
    return Trial(settings, speed, speed.seconds(TYPICAL))


def _best(best: Trial, trials: list[Trial]) -> Trial:
    """The fastest, if it gains enough over the best so far."""
    fastest = min(trials, key=lambda trial: trial.seconds or float("inf"))
    gains = (best.seconds or 0.0) / (fastest.seconds or float("inf"))
    return fastest if gains >= LEAST_GAIN else best


def measure_on(host: Host, model: str, vocabulary: int) -> Measure:
    """Loads the model with the settings and measures it, with as much work as fits SECONDS_A_TRIAL.

    How much that is follows from a small measurement with no setting made, and is the same for all.
    """
    sizes: Sizes | None = None

    def measure(settings: Settings) -> Speed:
        nonlocal sizes
        host.load(model, **_options(settings))
        warm = measured_speed(host, model, vocabulary, SMALL)
        if sizes is None:
            sizes = _sizes(warm)
        return measured_speed(host, model, vocabulary, sizes)

    return measure


def _sizes(speed: Speed) -> Sizes:
    """As much of both as takes about SECONDS_A_TRIAL in all rounds, and not more than a typical request."""
    seconds = SECONDS_A_TRIAL / (2 * ROUNDS)
    prompt = min(TYPICAL.prompt, max(SMALL.prompt, int(speed.prefill_tokens_per_s * seconds)))
    generated = min(TYPICAL.generated, max(SMALL.generated, int(speed.decode_tokens_per_s * seconds)))
    return Sizes(prompt, generated)


def _options(settings: Settings) -> LoadOptions:
    return {name: value for name, value in settings.items() if value is not None}  # type: ignore[return-value]  # as `choices` has them
