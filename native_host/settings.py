"""Settings, read from the environment once. Light: it is on the way to the first `ping`.

Secrets are not here: `guard.secrets` reads them and forgets where they came from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from native_host.http_address import HttpAddress, http_address
from native_host.protocol import limits
from native_host.units import bytes_of, finite_seconds_of, seconds_of

KEEP_ALIVE_S = 300.0
LOAD_TIMEOUT_S = 900.0
_ON = ("true", "1", "yes", "on")


class SettingsError(ValueError):
    """A variable of the environment has a value that cannot be used; the text names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are bytes, times seconds. The variable that sets a member is named beside it."""

    models_file: Path | None = None  # MODEL_CONFIG_PATH
    default_model: str | None = None  # DEFAULT_MODEL
    log_level: str = "info"  # LOG_LEVEL
    log_format: str = "json"  # LOG_FORMAT: json or text
    log_file: Path | None = None  # NATIVE_HOST_LOG_FILE: beside stderr, rotated
    api_keys_file: Path | None = None  # NATIVE_HOST_API_KEYS_FILE
    max_frame_in: int = limits.MAX_FRAME_BYTES  # NATIVE_HOST_MAX_FRAME_BYTES
    max_held_input: int = limits.MAX_HELD_INPUT_BYTES  # NATIVE_HOST_MAX_HELD_BYTES
    max_in_flight: int = 1024  # NATIVE_HOST_MAX_IN_FLIGHT: requests at once of one connection
    out_queue: int = (
        1024 * 1024
    )  # NATIVE_HOST_OUT_QUEUE_BYTES: what may wait for a peer before its work pauses
    stall_timeout_s: float = (
        30.0  # NATIVE_HOST_STALL_TIMEOUT_S: how long it may not read before that is cancelled
    )
    request_timeout_s: float | None = None  # REQUEST_TIMEOUT_SECONDS: for requests without `timeout_s`
    memory_budget: int | None = None  # MEMORY_BUDGET: of all models together; else what the machine leaves
    keep_alive_s: float = KEEP_ALIVE_S  # MODEL_KEEP_ALIVE: how long a model stays loaded unused
    load_timeout_s: float = LOAD_TIMEOUT_S  # MODEL_LOAD_TIMEOUT_S: how long loading one may take
    daemon: str | None = None  # NATIVE_HOST_DAEMON: of hosts that browsers start: join one, start one, never
    idle_exit_s: float | None = None  # NATIVE_HOST_IDLE_EXIT: how long a daemon stays with nothing to do
    http: HttpAddress | None = None  # NATIVE_HOST_HTTP: where the gateway listens
    open_loopback: bool = False  # NATIVE_HOST_OPEN_LOOPBACK: this machine's programs need no key over HTTP
    unknown_model: str = (
        "default"  # NATIVE_HOST_UNKNOWN_MODEL: what other programs' clients get: default, refuse
    )
    rate_limit: int | None = None  # RATE_LIMIT_PER_MINUTE: requests of a key, or of an address without one
    address_rate_limit: int | None = None  # NATIVE_HOST_ADDRESS_RATE_LIMIT: a minute, keys or none
    max_prompt: int | None = None  # MAX_PROMPT_LENGTH: bytes of all texts of a request
    max_tokens: int | None = None  # MAX_TOKEN_LIMIT: of an answer; more is cut down to it
    content_rules: Path | None = None  # NATIVE_HOST_CONTENT_RULES: patterns and classifiers for texts
    moderation: bool | None = None  # ENABLE_MODERATION: content rules on or off; on where a file is named
    prompts_folder: Path | None = None  # NATIVE_HOST_PROMPTS: templates of named system prompts
    key_header: str = "X-API-Key"  # API_KEY_HEADER
    allowed_addresses: str = ""  # NATIVE_HOST_ALLOWED_ADDRESSES: networks, by commas; else all but denied
    denied_addresses: str = ""  # NATIVE_HOST_DENIED_ADDRESSES
    trusted_proxies: str = ""  # NATIVE_HOST_TRUSTED_PROXIES: whose X-Forwarded-For is believed
    allowed_hosts: str = ""  # NATIVE_HOST_ALLOWED_HOSTS: names of this host beside its own, by commas
    cors_origins: str = ""  # NATIVE_HOST_CORS_ORIGINS: pages that may ask beside the host's own; or *
    telegram_bot: str | None = None  # NATIVE_HOST_TELEGRAM_BOT: its username, by which groups call it
    telegram_chats: str = ""  # NATIVE_HOST_TELEGRAM_CHATS: ids of chats that it answers, by commas; else all
    telegram_key: str | None = None  # NATIVE_HOST_TELEGRAM_KEY: name of the key whose quotas each chat has
    telegram_api: str = "https://api.telegram.org"  # NATIVE_HOST_TELEGRAM_API: where the bot's calls go

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the environment. Raises SettingsError with the name of a variable that cannot be used."""
        found = {
            member: parse(variable, environ[variable])
            for member, (variable, parse) in VARIABLES.items()
            if environ.get(variable)
        }
        return cls(**found)  # type: ignore[arg-type]


def _text(_: str, value: str) -> object:
    return value


def _path(_: str, value: str) -> object:
    return Path(value).expanduser()


def _size(variable: str, value: str) -> object:
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise SettingsError(f"{variable}={value!r}: a whole number above 0 is needed")
    return int(value)


def _bytes(variable: str, value: str) -> object:
    try:
        return bytes_of(value)
    except ValueError as error:
        raise SettingsError(f"{variable}={value!r}: {error}") from None


def _duration(variable: str, value: str) -> object:
    try:
        return seconds_of(value)
    except ValueError as error:
        raise SettingsError(f"{variable}={value!r}: {error}") from None


def _seconds(variable: str, value: str) -> object:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise SettingsError(f"{variable}={value!r}: a number of seconds above 0 is needed")
    return seconds


def _http_address(variable: str, value: str) -> object:
    try:
        return http_address(value)
    except ValueError as error:
        raise SettingsError(f"{variable}={error}") from None


def _switch(variable: str, value: str) -> object:
    return _one_of(variable, value, ("true", "false", "1", "0", "yes", "no", "on", "off")) in _ON


def _unknown_model(variable: str, value: str) -> object:
    return _one_of(variable, value, ("default", "refuse"))


def _daemon(variable: str, value: str) -> object:
    return _one_of(variable, value, ("join", "start", "never"))


def _some_time(variable: str, value: str) -> object:
    try:
        return finite_seconds_of(value)
    except ValueError as error:
        raise SettingsError(f"{variable}={value!r}: {error}") from None


def _networks(variable: str, value: str) -> object:
    from native_host.network_names import parse_networks

    return _parsed(variable, value, parse_networks)


def _hosts(variable: str, value: str) -> object:
    from native_host.network_names import parse_hosts

    return _parsed(variable, value, parse_hosts)


def _origins(variable: str, value: str) -> object:
    from native_host.network_names import parse_origins

    return _parsed(variable, value, parse_origins)


def _parsed(variable: str, value: str, parse: Callable[[str], object]) -> str:
    """The text itself, once it is known to be sound; what it means is worked out where it is used."""
    try:
        parse(value)
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None
    return value


def _header(variable: str, value: str) -> object:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", value) is None or value.lower() == "authorization":
        raise SettingsError(f"{variable}={value!r}: a header's name is needed, and not Authorization")
    return value


def _telegram_bot(variable: str, value: str) -> object:
    name = value.removeprefix("@")
    if re.fullmatch(r"[A-Za-z0-9_]{3,64}", name) is None:
        raise SettingsError(f"{variable}={value!r}: a bot's username is needed, such as example_bot")
    return name


def _telegram_chats(variable: str, value: str) -> object:
    if re.fullmatch(r"\s*-?[0-9]{1,19}\s*(,\s*-?[0-9]{1,19}\s*)*", value, re.ASCII) is None:
        raise SettingsError(f"{variable}={value!r}: ids of chats are needed, with commas between")
    return value


def _http_url(variable: str, value: str) -> object:
    if re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value) is None:
        raise SettingsError(f"{variable}={value!r}: an address such as https://example.com is needed")
    return value.rstrip("/")


def _log_level(variable: str, value: str) -> object:
    return _one_of(variable, value, ("debug", "info", "warn", "warning", "error", "critical"))


def _log_format(variable: str, value: str) -> object:
    return _one_of(variable, value, ("json", "text"))


def _one_of(variable: str, value: str, choices: tuple[str, ...]) -> str:
    if value.lower() not in choices:
        raise SettingsError(f"{variable}={value!r}: one of {', '.join(choices)} is needed")
    return value.lower()


VARIABLES = {
    "models_file": ("MODEL_CONFIG_PATH", _path),
    "default_model": ("DEFAULT_MODEL", _text),
    "log_level": ("LOG_LEVEL", _log_level),
    "log_format": ("LOG_FORMAT", _log_format),
    "log_file": ("NATIVE_HOST_LOG_FILE", _path),
    "api_keys_file": ("NATIVE_HOST_API_KEYS_FILE", _path),
    "max_frame_in": ("NATIVE_HOST_MAX_FRAME_BYTES", _size),
    "max_held_input": ("NATIVE_HOST_MAX_HELD_BYTES", _size),
    "max_in_flight": ("NATIVE_HOST_MAX_IN_FLIGHT", _size),
    "out_queue": ("NATIVE_HOST_OUT_QUEUE_BYTES", _size),
    "stall_timeout_s": ("NATIVE_HOST_STALL_TIMEOUT_S", _seconds),
    "request_timeout_s": ("REQUEST_TIMEOUT_SECONDS", _seconds),
    "memory_budget": ("MEMORY_BUDGET", _bytes),
    "keep_alive_s": ("MODEL_KEEP_ALIVE", _duration),
    "load_timeout_s": ("MODEL_LOAD_TIMEOUT_S", _seconds),
    "daemon": ("NATIVE_HOST_DAEMON", _daemon),
    "idle_exit_s": ("NATIVE_HOST_IDLE_EXIT", _some_time),
    "http": ("NATIVE_HOST_HTTP", _http_address),
    "open_loopback": ("NATIVE_HOST_OPEN_LOOPBACK", _switch),
    "unknown_model": ("NATIVE_HOST_UNKNOWN_MODEL", _unknown_model),
    "rate_limit": ("RATE_LIMIT_PER_MINUTE", _size),
    "address_rate_limit": ("NATIVE_HOST_ADDRESS_RATE_LIMIT", _size),
    "max_prompt": ("MAX_PROMPT_LENGTH", _size),
    "max_tokens": ("MAX_TOKEN_LIMIT", _size),
    "content_rules": ("NATIVE_HOST_CONTENT_RULES", _path),
    "moderation": ("ENABLE_MODERATION", _switch),
    "prompts_folder": ("NATIVE_HOST_PROMPTS", _path),
    "key_header": ("API_KEY_HEADER", _header),
    "allowed_addresses": ("NATIVE_HOST_ALLOWED_ADDRESSES", _networks),
    "denied_addresses": ("NATIVE_HOST_DENIED_ADDRESSES", _networks),
    "trusted_proxies": ("NATIVE_HOST_TRUSTED_PROXIES", _networks),
    "allowed_hosts": ("NATIVE_HOST_ALLOWED_HOSTS", _hosts),
    "cors_origins": ("NATIVE_HOST_CORS_ORIGINS", _origins),
    "telegram_bot": ("NATIVE_HOST_TELEGRAM_BOT", _telegram_bot),
    "telegram_chats": ("NATIVE_HOST_TELEGRAM_CHATS", _telegram_chats),
    "telegram_key": ("NATIVE_HOST_TELEGRAM_KEY", _text),
    "telegram_api": ("NATIVE_HOST_TELEGRAM_API", _http_url),
}
