"""The shared secret and the single API key: read once from where the parent put them, then taken away from
there.

Never from an argument: those can be seen by everyone on the machine. What is taken out of the environment is
not inherited by workers.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

from native_host.guard.grants import Grants
from native_host.guard.handshake import AuthPolicy, TelegramAccess
from native_host.guard.keys import KeyStore

MIN_SECRET_BYTES = 16
_MAX_SECRET_BYTES = 4096
_TELEGRAM_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")
"""What Telegram takes as a webhook's secret token, but for the least length, which is ours."""
_TELEGRAM_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{10,200}")


class SecretError(ValueError):
    """A secret was announced and cannot be used. Going on without one would open the host to everybody."""


def read_policy(
    keys_file: Path | None,
    environ: MutableMapping[str, str] = os.environ,
    own_keys_file: Path | None = None,
    grants: Grants | None = None,
) -> AuthPolicy:
    """How peers must authenticate. Raises SecretError, or KeyFileError for a bad file of keys.

    `own_keys_file` is the user's, for strangers where nothing else is set up; it may be missing.
    """
    secret = read_secret(environ)
    single = environ.pop("NATIVE_HOST_API_KEY", None)
    if single is not None and not single.strip():
        raise SecretError("NATIVE_HOST_API_KEY is set but empty")
    keys = KeyStore(keys_file, single) if keys_file or single else None
    own_keys = KeyStore(own_keys_file, optional=True) if own_keys_file else None
    return AuthPolicy(secret, keys, own_keys, read_telegram(environ), grants)


def read_secret(environ: MutableMapping[str, str] = os.environ) -> bytes | None:
    """The shared secret from `NATIVE_HOST_SECRET_FD`, `NATIVE_HOST_SECRET_FILE` or `NATIVE_HOST_SECRET`."""
    descriptor = environ.pop("NATIVE_HOST_SECRET_FD", None)
    file = environ.pop("NATIVE_HOST_SECRET_FILE", None)
    plain = environ.pop("NATIVE_HOST_SECRET", None)
    if descriptor is not None:
        return _checked(_from_descriptor(descriptor), "NATIVE_HOST_SECRET_FD")
    if file is not None:
        return _checked(_from_file(Path(file), "NATIVE_HOST_SECRET_FILE"), "NATIVE_HOST_SECRET_FILE")
    if plain is not None:
        return _checked(os.fsencode(plain), "NATIVE_HOST_SECRET")
    return None


def read_telegram(environ: MutableMapping[str, str] = os.environ) -> TelegramAccess | None:
    """What Telegram's webhook shows, and the bot's token, from `NATIVE_HOST_TELEGRAM_SECRET` and
    `NATIVE_HOST_TELEGRAM_TOKEN`, or the files that the same names with `_FILE` give.
    """
    secret = _text_of("NATIVE_HOST_TELEGRAM_SECRET", environ)
    token = _text_of("NATIVE_HOST_TELEGRAM_TOKEN", environ)
    if secret is None:
        if token is not None:
            raise SecretError("NATIVE_HOST_TELEGRAM_TOKEN is of no use without NATIVE_HOST_TELEGRAM_SECRET")
        return None
    if _TELEGRAM_SECRET.fullmatch(secret) is None:
        raise SecretError("NATIVE_HOST_TELEGRAM_SECRET: 16 to 256 letters, digits, _ and - are needed")
    if token is not None and _TELEGRAM_TOKEN.fullmatch(token) is None:
        raise SecretError("NATIVE_HOST_TELEGRAM_TOKEN is no token of a bot, such as 123456:ABC-DEF1234ghIkl")
    return TelegramAccess(secret.encode(), token)


def _text_of(variable: str, environ: MutableMapping[str, str]) -> str | None:
    """A secret without white space around it, from the environment or from a file that it names."""
    file, plain = environ.pop(f"{variable}_FILE", None), environ.pop(variable, None)
    if file is not None:
        return _from_file(Path(file), f"{variable}_FILE").decode("utf-8", "replace").strip()
    return None if plain is None else plain.strip()


def _from_descriptor(text: str) -> bytes:
    if not text.isascii() or not text.isdigit() or int(text) < 3:
        raise SecretError(f"NATIVE_HOST_SECRET_FD={text!r} is no descriptor above 2")
    try:
        with os.fdopen(int(text), "rb") as stream:
            return stream.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretError(f"NATIVE_HOST_SECRET_FD={text}: {error}") from error


def _from_file(file: Path, variable: str) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretError(f"{variable}: {error}") from error


def _checked(found: bytes, source: str) -> bytes:
    """The secret without the line end that editors and `echo` leave behind it."""
    secret = found.removesuffix(b"\n").removesuffix(b"\r")
    if not MIN_SECRET_BYTES <= len(secret) <= _MAX_SECRET_BYTES:
        raise SecretError(f"{source}: a secret has {MIN_SECRET_BYTES} to {_MAX_SECRET_BYTES} bytes")
    return secret
