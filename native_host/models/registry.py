"""The registry: which models there are, read from `models.json`.

It opens no model. Where the file is found, what it may say and how a name is resolved is decided here; what
is loaded at the moment is the manager's business.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from native_host.models.formats import Format
from native_host.models.json_lines import KeyPath, key_lines
from native_host.models.spec import (
    ModelEntry,
    ModelSpec,
    Sampling,
    adapters_of,
    file_of,
    format_of,
    keep_alive_of,
    max_memory_of,
    spill_bytes_of,
)
from native_host.platform.paths import cache_dir
from native_host.protocol import errors

BUILTIN_NAME = "tabagent-demo"
LATEST = ":latest"
"""What Ollama's clients add to a name without a tag."""
BUILTIN_NAMES = (BUILTIN_NAME, f"{BUILTIN_NAME}-safetensors", f"{BUILTIN_NAME}-onnx")
BUILTIN_FILE = Path(__file__).parent / "builtin" / "tabagent-demo.gguf"
BUILTIN_ENTRY = ModelEntry(
    path=str(BUILTIN_FILE),
    type="gguf",
    # A second thread gains nothing on so small a model, and on a busy machine each waits for the other.
    threads=1,
    # It has learnt few answers by heart: the likeliest token is the right one.
    sampling=Sampling(temperature=0.0),
)


def builtin_specs() -> list[ModelSpec]:
    """The built-in model, once a format. Formats that are not shipped are made on their first load."""
    cache = cache_dir() / "builtin" / BUILTIN_FILE.with_name("SHA256").read_text()[:16]

    def derived(name: str, backend: str, weights: Format) -> ModelSpec:
        folder = cache / weights
        entry = replace(BUILTIN_ENTRY, type=backend, path=str(folder))
        return ModelSpec(name, entry, weights, folder, derived_from=BUILTIN_FILE)

    return [
        ModelSpec(BUILTIN_NAME, BUILTIN_ENTRY, "gguf", BUILTIN_FILE),
        derived(BUILTIN_NAMES[1], "transformers", "safetensors"),
        derived(BUILTIN_NAMES[2], "onnx", "onnx"),
    ]


class RegistryError(ValueError):
    """`models.json` cannot be read or says something wrong: which file, where, and what."""

    def __init__(self, file: Path, problem: str, line: int | None = None) -> None:
        self.file = file
        self.line = line
        self.problem = problem
        super().__init__(self._told(str(file)))

    def without_folder(self) -> str:
        """The same for those who need not know where the file lies."""
        return self._told(self.file.name)

    def _told(self, file: str) -> str:
        place = file if self.line is None else f"{file}:{self.line}"
        return f"{place}: {self.problem}"


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """The file as a whole; each entry is decoded on its own, so that a complaint names the model."""

    models: dict[str, msgspec.Raw] = {}
    default: str | None = None
    schema: str | None = msgspec.field(name="$schema", default=None)


def find_file(named: Path | None, user_folder: Path | None) -> Path | None:
    """The `models.json` to read, or `None` where there is none.

    The one that was named (by `--models`, else `MODEL_CONFIG_PATH`) must exist, which is found out on
    reading it; after it come the working directory and the user's configuration folder.
    """
    if named is not None:
        return named
    folders = [Path.cwd()] + ([user_folder] if user_folder is not None else [])
    return next((folder / "models.json" for folder in folders if (folder / "models.json").is_file()), None)


class Registry:
    """All models by name and alias, and the default among them.

    The built-in model is always there (unless the file gives its name to another), so that a first pull or a
    small `models.json` does not take it away.
    """

    def __init__(self, specs: list[ModelSpec], default: str | None = None, file: Path | None = None) -> None:
        self.file = file
        self._specs = {spec.name: spec for spec in specs}
        for builtin in builtin_specs():
            self._specs.setdefault(builtin.name, builtin)
        self._names = {alias: spec.name for spec in specs for alias in spec.entry.aliases}
        self._names.update((name, name) for name in self._specs)
        self.default = default or (specs[0].name if specs else BUILTIN_NAME)

    @classmethod
    def load(cls, file: Path | None, default: str | None = None) -> Registry:
        """Read a `models.json`; without one the built-in model is the registry.

        `default` (the environment's `DEFAULT_MODEL`) gives way to the file's own. Raises RegistryError.
        """
        if file is None:
            return cls([], default)
        file = Path(os.path.abspath(file))  # noqa: PTH100 -- resolve() would follow links: the folder counts
        text = _read(file)
        document = _decode(file, text)
        specs = [_spec(file, text, name, raw) for name, raw in document.models.items()]
        registry = cls(specs, document.default or default, file)
        registry._check(text)
        return registry

    def _check(self, text: str) -> None:
        """Refuse aliases that mean two models, and a default that is none."""
        if self.file is None:
            return
        if self.default not in self._names:
            line = key_lines(text).get(("default",))
            raise RegistryError(self.file, f"default: there is no model {self.default!r}{self._hint()}", line)
        seen: dict[str, str] = {name: name for name in self._specs}
        for spec in self._specs.values():
            for alias in spec.entry.aliases:
                if seen.setdefault(alias, spec.name) != spec.name:
                    line = key_lines(text).get(("models", spec.name, "aliases"))
                    problem = f"models.{spec.name}.aliases: {alias!r} already means {seen[alias]!r}"
                    raise RegistryError(self.file, problem, line)

    def _hint(self) -> str:
        near = self.nearest(self.default)
        return f" (did you mean {near[0]!r}?)" if near else ""

    def get(self, name: str) -> ModelSpec | None:
        """The model of this very name, if there is one."""
        return self._specs.get(name)

    def take_in(self, other: Registry) -> None:
        """Add another registry's models and aliases, but for names that are taken."""
        for spec in other.specs():
            if spec.name in self._names:
                continue
            self._specs[spec.name] = spec
            self._names[spec.name] = spec.name
            for alias in spec.entry.aliases:
                self._names.setdefault(alias, spec.name)

    def specs(self) -> list[ModelSpec]:
        """All models, in the file's order."""
        return list(self._specs.values())

    def nearest(self, name: str) -> list[str]:
        """Up to three known names that look like this one, best first."""
        folded = {known.casefold(): known for known in self._names}
        close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
        return [folded[match] for match in close]

    def resolve(self, name: str | None) -> ModelSpec:
        """The model of this name or alias; the default one for `None`. `name:latest` means `name` where there
        is no such tag. Raises model_not_found.
        """
        wanted = self.default if name is None else name
        known = self._names.get(wanted) or self._names.get(wanted.removesuffix(LATEST))
        if known is None:
            raise errors.model_not_found(wanted, self.nearest(wanted))
        return self._specs[known]


def of_environment(environ: Mapping[str, str]) -> Registry:
    """The model of an Ollama server that `OLLAMA_MODEL` names, under that name."""
    name = environ.get("OLLAMA_MODEL")
    entry = ModelEntry(path=name or "", type="ollama")
    return Registry([ModelSpec(name, entry, "ollama", None)] if name else [])


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RegistryError(file, "is not UTF-8 text") from error
    except OSError as error:
        raise RegistryError(file, f"cannot be read: {error.strerror or error}") from error


def _decode(file: Path, text: str) -> _Document:
    try:
        return msgspec.json.decode(text.encode(), type=_Document)
    except msgspec.ValidationError as error:
        raise _refusal(file, text, (), str(error), _Document) from error
    except msgspec.DecodeError as error:
        offset = re.search(r"byte (\d+)", str(error))
        line = text.encode()[: int(offset.group(1))].count(b"\n") + 1 if offset else None
        raise RegistryError(file, f"is not JSON: {error}", line) from error


def _spec(file: Path, text: str, name: str, raw: msgspec.Raw) -> ModelSpec:
    try:
        entry = msgspec.json.decode(raw, type=ModelEntry)
    except msgspec.ValidationError as error:
        raise _refusal(file, text, ("models", name), str(error), ModelEntry) from error
    problem = _range_problem(entry)
    if problem is not None:
        key, message = problem
        line = key_lines(text).get(("models", name, key))
        raise RegistryError(file, f"models.{name}.{key}: {message}", line)
    weights = format_of(entry)
    folder = file.parent
    return ModelSpec(name, entry, weights, file_of(entry, folder, weights), adapters_of(entry, folder))


def _range_problem(entry: ModelEntry) -> tuple[str, str] | None:
    """The first key whose value is of the right type but makes no sense, and why."""
    if not entry.path:
        return "path", "is empty"
    for key in ("context_length", "threads", "parallel", "kv_cache_tokens"):
        value = getattr(entry, key)
        if value is not None and value < 1:
            return key, f"must be at least 1, not {value}"
    if entry.gpu_layers is not None and entry.gpu_layers < -1:
        return "gpu_layers", f"must be -1 (all) or more, not {entry.gpu_layers}"
    for key, read in (
        ("max_memory", max_memory_of),
        ("spill_memory", spill_bytes_of),
        ("keep_alive", lambda entry: keep_alive_of(entry, 0.0)),
    ):
        try:
            read(entry)
        except ValueError as error:
            return key, str(error)
    return None


def _refusal(
    file: Path, text: str, prefix: KeyPath, message: str, known: type[msgspec.Struct]
) -> RegistryError:
    """Say which key a decoder's complaint is about, on which line, and what it may have been meant to be."""
    problem, _, where = message.partition(" - at `$")
    inner = tuple(part for part in re.split(r"[.\[\]]+", where.rstrip("`")) if part and part != "...")
    unknown = re.search(r"unknown field `(.*)`", problem)
    if unknown is not None:
        inner = (*inner, unknown.group(1))
        names = [field.encode_name for field in msgspec.structs.fields(known)]
        near = difflib.get_close_matches(inner[-1], names, n=1) if len(inner) == 1 else []
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(names)}"
        problem = f"unknown key; {hint}"
    path = prefix + inner
    lines = key_lines(text)
    line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
    return RegistryError(file, f"{'.'.join(path)}: {problem}" if path else problem, line)
