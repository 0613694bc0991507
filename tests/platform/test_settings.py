"""Settings from the environment: what they become, and that a wrong one is named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from native_host.settings import Settings, SettingsError


def test_the_defaults_are_the_contracts() -> None:
    settings = Settings.from_env({})
    assert settings.max_frame_in == 64 * 1024 * 1024
    assert settings.max_held_input == 256 * 1024 * 1024
    assert settings.stall_timeout_s == 30.0


def test_variables_are_read() -> None:
    settings = Settings.from_env(
        {
            "MODEL_CONFIG_PATH": "/m.json",
            "LOG_LEVEL": "INFO",
            "LOG_FORMAT": "text",
            "REQUEST_TIMEOUT_SECONDS": "60",
            "NATIVE_HOST_MAX_IN_FLIGHT": "5",
            "DEFAULT_MODEL": "",
            "MEMORY_BUDGET": "8GB",
            "MODEL_KEEP_ALIVE": "-1",
            "MODEL_LOAD_TIMEOUT_S": "60",
        }
    )
    assert settings == Settings(
        models_file=Path("/m.json"),
        log_level="info",
        log_format="text",
        request_timeout_s=60.0,
        max_in_flight=5,
        memory_budget=8 << 30,
        keep_alive_s=math.inf,
        load_timeout_s=60.0,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NATIVE_HOST_MAX_FRAME_BYTES", "0"),
        ("NATIVE_HOST_MAX_FRAME_BYTES", "-5"),
        ("NATIVE_HOST_MAX_FRAME_BYTES", "1e6"),
        ("NATIVE_HOST_STALL_TIMEOUT_S", "nan"),
        ("NATIVE_HOST_STALL_TIMEOUT_S", "inf"),
        ("REQUEST_TIMEOUT_SECONDS", "soon"),
        ("MEMORY_BUDGET", "lots"),
        ("MODEL_KEEP_ALIVE", "a while"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_one_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        Settings.from_env({variable: value})
