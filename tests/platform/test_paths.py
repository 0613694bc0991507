"""Where files lie: Linux's places are those of platformdirs, without its cost."""

from __future__ import annotations

import sys
from pathlib import Path

import platformdirs
import pytest

from native_host.platform import paths

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs itself is asked")


@LINUX
def test_they_agree_with_platformdirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    dirs = platformdirs.PlatformDirs("native-host", appauthor=False)
    assert paths.config_dir() == Path(dirs.user_config_dir)
    assert paths.cache_dir() == Path(dirs.user_cache_dir)
    assert paths.log_dir() == Path(dirs.user_log_dir)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert paths.config_dir() == tmp_path / "native-host"


@LINUX
def test_the_socket_lies_in_the_runtime_folder_or_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert paths.default_socket() == tmp_path / "native-host.sock"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert paths.default_socket() == tmp_path / "cache" / "native-host" / "run" / "native-host.sock"


def test_without_a_home_the_variable_that_helps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(paths.NoHomeError, match="XDG_CACHE_HOME"):
        paths.cache_dir()
