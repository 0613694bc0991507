"""The token that the hub is shown: HF_TOKEN, else the keyring's (where `keyring` is installed), else what
huggingface_hub itself was logged in with."""

from __future__ import annotations

import importlib.util
import os

KEYRING_SERVICE = "native-host"
KEYRING_NAME = "HF_TOKEN"


def hub_token() -> str | None:
    """The token, or None to ask as anybody."""
    return os.environ.get("HF_TOKEN", "").strip() or _from_keyring() or _from_hub()


def _from_keyring() -> str | None:
    if importlib.util.find_spec("keyring") is None:
        return None
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(KEYRING_SERVICE, KEYRING_NAME)
    except KeyringError:  # locked, or no desktop session that keeps one
        return None


def _from_hub() -> str | None:
    from huggingface_hub import get_token

    return get_token()
