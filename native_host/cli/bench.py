"""`native-host bench`: what this machine gives with a model, and with which settings it gives the most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from native_host.cli import tuning
from native_host.cli.edge import CommandFailed
from native_host.cli.loading import LoadingLine
from native_host.cli.measuring import Memory, Sizes, Speed, measured_memory, measured_speed
from native_host.cli.opening import opened
from native_host.cli.options import Json, Models
from native_host.cli.output import err, facts, out, print_json, shown_path, size
from native_host.cli.tuning import Found, Trial, UntunableError
from native_host.client import Host
from native_host.models.registry import BUILTIN_ENTRY, Registry, find_file
from native_host.models.user_file import set_keys
from native_host.platform.paths import config_dir
from native_host.protocol.messages import ModelsLoadResult
from native_host.settings import Settings

TUNABLE_FORMAT = "gguf"


class Bench(msgspec.Struct, frozen=True):
    """What a machine gives with a model, as it is set."""

    model: str
    context_length: int
    load_ms: float
    first_token_ms: float
    sizes: Sizes
    speed: Speed
    memory: Memory


class Tuned(msgspec.Struct, frozen=True):
    """What was tried, the best of it, and the file that has it now; None where none was written."""

    model: str
    found: Found
    written: str | None


def bench(
    model: Annotated[str | None, typer.Argument(help="A model of the registry.", show_default=False)] = None,
    prompt_tokens: Annotated[int, typer.Option(min=16, help="Tokens of the prompt.")] = 512,
    generated_tokens: Annotated[int, typer.Option(min=8, help="Tokens of the answer.")] = 128,
    tune: Annotated[bool, typer.Option("--tune", help="Try settings, and show the fastest.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="With --tune: put the fastest into models.json.")
    ] = False,
    json: Json = False,
    models: Models = None,
) -> None:
    """Measure what this machine gives with MODEL; with --tune, find the settings that give the most.

    The model is loaded into a host of its own, which ends with the command.
    """
    if write and not tune:
        raise typer.BadParameter("--write is for what --tune finds")
    if not tune:
        with opened(models, None) as host:
            measured = _measured(host, model, Sizes(prompt_tokens, generated_tokens))
        print_json(measured) if json else out().print(_bench_table(measured))
        return
    registry, name = _registered(models, model, write)
    with opened(models, None) as host:
        found = _tuned(host, name)
    tuned = Tuned(name, found, _written(registry, name, found.best) if write else None)
    print_json(tuned) if json else _show_tuned(tuned)


def _measured(host: Host, model: str | None, sizes: Sizes) -> Bench:
    loaded = _loaded(host, model)
    context = loaded.context_length
    if sizes.prompt + sizes.generated + 1 > context:
        raise CommandFailed(f"{sizes.prompt} + {sizes.generated} tokens do not fit its context of {context}")
    first = host.generate("Hello", model=loaded.model, max_tokens=1, ignore_eos=True).timings.first_token_ms
    speed = measured_speed(host, loaded.model, _vocabulary(host, loaded.model), sizes)
    memory = measured_memory(host)
    return Bench(loaded.model, context, loaded.load_ms, first or 0.0, sizes, speed, memory)


def _loaded(host: Host, model: str | None) -> ModelsLoadResult:
    with LoadingLine() as loading:
        return host.load(model, on_progress=loading.show)


def _vocabulary(host: Host, model: str) -> int:
    size = host.inspect(model).vocab_size
    if not size:
        raise CommandFailed(f"{model} does not say how large its vocabulary is, so no prompt can be made")
    return size


def _registered(models: Path | None, model: str | None, write: bool) -> tuple[Registry, str]:
    """The registry and the model's own name in it. Raises CommandFailed for what cannot be tuned."""
    settings = Settings.from_env()
    registry = Registry.load(find_file(models or settings.models_file, config_dir()), settings.default_model)
    spec = registry.resolve(model)
    if spec.format != TUNABLE_FORMAT:
        raise CommandFailed(f"{spec.name} is {spec.format}; there are settings to try for gguf only")
    if write and (registry.file is None or spec.entry is BUILTIN_ENTRY):
        raise CommandFailed(f"{spec.name} is not in a models.json, so there is no place to write settings to")
    return registry, spec.name


def _tuned(host: Host, model: str) -> Found:
    info = host.hardware()
    cores = int(info.cpu.get("available_cores") or info.cpu.get("physical_cores") or 1)
    measure = tuning.measure_on(host, model, _vocabulary(host, model))
    try:
        with _progress(tuning.count(cores)) as advance:
            return tuning.tune(measure, cores, lambda trial: advance())
    except UntunableError as error:
        raise CommandFailed(str(error)) from error


@contextmanager
def _progress(trials: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal's stderr, nothing elsewhere."""
    from rich import progress as bars  # 25 ms that no other command should wait for

    console = err()
    columns = (
        bars.TextColumn("trying settings"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    hidden = not console.is_terminal
    with bars.Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=trials)
        yield lambda: progress.advance(task)


def _written(registry: Registry, model: str, best: Trial) -> str | None:
    """Put the best settings into the entry. None where the best is to set nothing."""
    if registry.file is None or not best.settings:
        return None
    set_keys(registry.file, model, {str(name): value for name, value in best.settings.items()})
    return str(registry.file)


def _bench_table(measured: Bench) -> Table:
    table = facts()
    table.add_row("model", measured.model)
    table.add_row("prefill", f"{_rate(measured.speed.prefill_tokens_per_s)} ({measured.sizes.prompt} tokens)")
    table.add_row(
        "decode", f"{_rate(measured.speed.decode_tokens_per_s)} ({measured.sizes.generated} tokens)"
    )
    table.add_row("first token", f"{measured.first_token_ms:.0f} ms for a short prompt")
    table.add_row("loaded in", f"{measured.load_ms / 1000:.2f} s")
    table.add_row("context", f"{measured.context_length} tokens")
    table.add_row(
        "memory", f"{size(measured.memory.worker)} the worker, {size(measured.memory.host)} the host"
    )
    return table


def _show_tuned(tuned: Tuned) -> None:
    console = out()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("settings", "prefill", "decode", "typical request", ""):
        table.add_column(column, justify="left" if column in ("settings", "") else "right", overflow="fold")
    for trial in tuned.found.trials:
        best = trial == tuned.found.best
        table.add_row(*_cells(trial), "← best" if best else "", style="bold green" if best else None)
    console.print(table)
    typical = tuning.TYPICAL
    console.print(
        Text(f"A typical request: {typical.prompt} tokens in, {typical.generated} out.", style="dim")
    )
    if tuned.written is not None:
        console.print(f"written to {shown_path(tuned.written)}")
    elif not tuned.found.best.settings:
        console.print(f"nothing gains {tuning.LEAST_GAIN - 1:.0%} or more: leave {tuned.model} as it is")


def _cells(trial: Trial) -> tuple[str, str, str, str]:
    named = ", ".join(f"{name} {value}" for name, value in trial.settings.items()) or "as it is"
    if trial.speed is None or trial.seconds is None:
        return named, "–", "–", trial.problem or "–"
    speed = trial.speed
    prefill, decode = _rate(speed.prefill_tokens_per_s), _rate(speed.decode_tokens_per_s)
    return named, prefill, decode, f"{trial.seconds:.2f} s"


def _rate(tokens_per_s: float) -> str:
    return f"{tokens_per_s:.{0 if tokens_per_s >= 100 else 1}f} tokens/s"
