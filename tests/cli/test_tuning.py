"""Which settings are chosen, given what each of them measures."""

from __future__ import annotations

import pytest

from native_host.cli import tuning
from native_host.cli.measuring import Speed
from native_host.cli.tuning import Settings, Trial, UntunableError, tune
from native_host.protocol import errors


def machine(
    gains: dict[tuple[str, object], float], refuses: tuple[str, object] | None = None
) -> tuning.Measure:
    """A machine on which each setting makes both kinds of work so many times as fast."""

    def measure(settings: Settings) -> Speed:
        faster = 1.0
        for setting in settings.items():
            if setting == refuses:
                raise errors.model_load_failed("a", "that does not go together")
            faster *= gains.get(setting, 1.0)
        return Speed(100.0 * faster, 10.0 * faster)

    return measure


def settings_found(measure: tuning.Measure) -> Settings:
    heard: list[Trial] = []
    found = tune(measure, 4, heard.append)
    assert heard == found.trials
    assert len(heard) == tuning.count(4)
    return found.best.settings


def test_each_setting_builds_on_the_best_before_it() -> None:
    gains = {("threads", 2): 1.5, ("threads", 4): 1.2, ("flash_attention", "off"): 1.1}
    assert settings_found(machine(gains)) == {"threads": 2, "flash_attention": "off"}


def test_what_gains_next_to_nothing_is_left_alone() -> None:
    assert settings_found(machine({("threads", 2): 1.04, ("kv_type", "q8_0"): 1.01})) == {}


def test_what_is_refused_is_told_and_not_chosen() -> None:
    refused = ("kv_type", "q8_0")
    found = tune(machine({refused: 9.0}, refuses=refused), 2, lambda trial: None)
    assert found.best.settings == {}
    assert "that does not go together" in (found.trials[-1].problem or "")


def test_a_model_that_does_not_load_cannot_be_tuned() -> None:
    def measure(settings: Settings) -> Speed:
        raise errors.model_load_failed("a", "the file is broken")

    with pytest.raises(UntunableError, match="the file is broken"):
        tune(measure, 2, lambda trial: None)


@pytest.mark.parametrize(("cores", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_threads_are_tried_by_powers_of_two_and_all_cores(cores: int, expected: list[int]) -> None:
    assert tuning.choices(cores)["threads"] == expected
