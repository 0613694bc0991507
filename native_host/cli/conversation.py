"""What a chat holds, and the commands that begin with a slash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from native_host.cli.edge import CommandFailed
from native_host.client import Host


@dataclass
class Conversation:
    """The model, its instruction, and what was said, oldest first."""

    model: str | None = None
    system: str | None = None
    said: list[dict[str, object]] = field(default_factory=list)

    def messages(self) -> list[dict[str, object]]:
        """As `chat` wants it."""
        if self.system is None:
            return list(self.said)
        return [{"role": "system", "content": self.system}, *self.said]

    def add(self, role: str, content: str) -> None:
        """One more message."""
        self.said.append({"role": role, "content": content})


class Leave(Exception):
    """The user wants to end the chat."""


@dataclass(frozen=True)
class _Command:
    argument: str
    what: str
    run: Callable[[str], str]


class SlashCommands:
    """Runs `/name argument`; each answers with the line to show. Raises Leave and CommandFailed."""

    def __init__(self, conversation: Conversation, host: Host) -> None:
        self._conversation = conversation
        self._host = host
        self._commands = {
            "/help": _Command("", "this list", self._help),
            "/model": _Command("[NAME]", "use another model; without a name, list them", self._model),
            "/system": _Command(
                "[TEXT]", "instruct the model; without a text, drop the instruction", self._system
            ),
            "/reset": _Command("", "forget what was said", self._reset),
            "/save": _Command("FILE", "write the conversation to a JSON file", self._save),
            "/quit": _Command("", "leave", self._quit),
        }

    def run(self, line: str) -> str:
        """Run one line that begins with a slash."""
        name, _, argument = line.strip().partition(" ")
        if name not in self._commands:
            raise CommandFailed(f"there is no command {name}; /help lists them")
        return self._commands[name].run(argument.strip())

    def _help(self, _: str) -> str:
        rows = [f"{name + ' ' + each.argument:<16} {each.what}" for name, each in self._commands.items()]
        rows.append('A line that ends with \\ goes on in the next; lines between two """ belong together.')
        rows.append("Ctrl-C stops an answer, Ctrl-D leaves.")
        return "\n".join(rows)

    def _model(self, name: str) -> str:
        listing = {model.name: model for model in self._host.models()}
        if not name:
            return "\n".join(f"{model.name}  {model.state}" for model in listing.values())
        self._host.inspect(name)  # refuses a name that is none, and says which ones are near
        self._conversation.model = name
        return f"answers come from {name} now"

    def _system(self, text: str) -> str:
        self._conversation.system = text or None
        return "the instruction is set" if text else "there is no instruction"

    def _reset(self, _: str) -> str:
        self._conversation.said.clear()
        return "what was said is forgotten"

    def _save(self, file: str) -> str:
        if not file:
            raise CommandFailed("/save needs a file")
        path = Path(file).expanduser()
        text = msgspec.json.format(msgspec.json.encode({"messages": self._conversation.messages()}), indent=2)
        try:
            path.write_bytes(text + b"\n")
        except OSError as error:
            raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error
        return f"saved to {path}"

    def _quit(self, _: str) -> str:
        raise Leave
