"""Text and tokens of models that come as a folder (SafeTensors, ONNX): tokenizer.json and its neighbours.

Needs the `tokenizers` package and nothing of torch. What a prompt becomes (control tokens, the beginning of
text, the chat template in the native module's sandbox) is what a GGUF model of the same tokenizer makes of
it.
"""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tabagent_model
from tabagent_model.chat import written
from tokenizers import Encoding, Tokenizer

from native_host.protocol import errors
from native_host.workers.backends.batching import Vocabulary
from native_host.workers.backends.engine_requests import require_tokens
from native_host.workers.backends.prompts import template_arguments
from native_host.workers.messages import GenerateRequest, TemplateRequest

if TYPE_CHECKING:
    from tabagent_model.chat import Prompt

_LONGEST_TOKEN_BYTES = 512
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_END_NAMES = frozenset(
    (
        *("<|endoftext|>", "<|end_of_text|>", "<EOT>"),
        *("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|END_OF_TURN_TOKEN|>"),
        *("<|return|>", "<|call|>"),
    )
)
"""Control tokens that end a text or a turn in the chat formats in use, whatever a model's files say of them:
those that llama.cpp (llama-vocab.cpp) takes for ends too."""
_CHATML = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


class FolderText:
    """A model folder's tokenizer and chat template. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        """Read the files. Raises invalid_model_file."""
        self._lock = threading.Lock()
        self._tokenizer = _open_tokenizer(folder)
        self._settings = read_json(folder / "tokenizer_config.json")
        self._generation = read_json(folder / "generation_config.json")
        self._config = read_json(folder / "config.json")
        self._added: dict[int, Any] = self._tokenizer.get_added_tokens_decoder()
        self.chat_template = _chat_template(folder, self._settings)
        self._prompts = tabagent_model.ChatTemplate(
            self.chat_template or _CHATML,
            [(token.content, token.special, token.lstrip, token.rstrip) for token in self._added.values()],
        )
        self.size = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to tokens; `parse_special` reads the names of control tokens as such."""
        with self._lock:
            self._tokenizer.encode_special_tokens = not parse_special
            return list(self._tokenizer.encode(text, add_special_tokens=add_special).ids)

    def token(self, name: str) -> int | None:
        """A token by how it is written."""
        token: int | None = self._tokenizer.token_to_id(name)
        return token

    def encode(self, text: str, pair: str | None = None) -> tuple[list[int], list[int]]:
        """A text (or two) as encoders read it: special tokens too, and all types (1 for `pair`)."""
        with self._lock:
            self._tokenizer.encode_special_tokens = True
            encoded = self._tokenizer.encode(text, pair)
        return list(encoded.ids), list(encoded.type_ids)

    def decode(self, tokens: list[int]) -> str:
        """Tokens to text by the tokenizer's own rules, which join the pieces of words."""
        require_tokens("tokens", tokens, self.size)
        return str(self._tokenizer.decode(tokens))

    def detokenize(self, tokens: list[int], vocabulary: Vocabulary) -> str:
        """Tokens to text without control tokens; bytes that are no UTF-8 are replaced."""
        require_tokens("tokens", tokens, len(vocabulary.pieces))
        kept = (vocabulary.pieces[token] for token in tokens if token not in vocabulary.control)
        return b"".join(kept).decode("utf-8", "replace")

    def _template_arguments(self, request: TemplateRequest) -> dict[str, Any]:
        return {
            "bos_token": self._named("bos_token"),
            "eos_token": self._named("eos_token"),
            **template_arguments(request),
        }

    def prompt_pieces(self, request: TemplateRequest) -> Prompt:
        """The prompt that the chat template makes (ChatML for a model without one), in stretches: what
        messages hold is text, even where it looks like a control token. Raises invalid_params."""
        try:
            return self._prompts.pieces(**self._template_arguments(request))
        except (tabagent_model.TemplateError, tabagent_model.InvalidArgumentError) as error:
            raise errors.invalid_params("messages", str(error)) from None

    def chat_tokens(self, pieces: Prompt, context_length: int) -> list[int]:
        """The tokens of a conversation's prompt. Raises input_too_long."""
        text = written(pieces)
        _require_room(text, context_length)
        bos = self._named("bos_token")
        add_special = not (bos and pieces[0][1] and text.startswith(bos))
        if len(pieces) == 1:
            return self.tokenize(text, add_special, pieces[0][1])
        with self._lock:
            encodings = [self._encode_piece(*piece) for piece in pieces]
            joined = Encoding.merge(encodings, True)
            return list(self._tokenizer.post_process(joined, None, add_special).ids)

    def _encode_piece(self, text: str, special: bool) -> Encoding:
        self._tokenizer.encode_special_tokens = not special
        return self._tokenizer.encode(text, add_special_tokens=False)

    def prompt_tokens(self, request: GenerateRequest, context_length: int) -> list[int]:
        """The tokens of a request's prompt. Raises input_too_long."""
        if isinstance(request.prompt, str):
            _require_room(request.prompt, context_length)
            return self.tokenize(request.prompt, True, False)
        return request.prompt or []

    def vocabulary(self, rows: int) -> Vocabulary:
        """The tokens by what they stand for; `rows` is the width of the model's logits."""
        decoder = json.loads(self._tokenizer.to_str()).get("decoder")
        pieces = [b""] * max(rows, self.size)
        for text, token in self._tokenizer.get_vocab(with_added_tokens=True).items():
            added = self._added.get(token)
            pieces[token] = added.content.encode() if added else self._piece(text, token, decoder)
        control = frozenset(token for token, added in self._added.items() if added.special)
        return Vocabulary(pieces[:rows] if rows else pieces, control, self._ends(control))

    def _piece(self, text: str, token: int, decoder: dict[str, Any] | None) -> bytes:
        kinds = _decoder_kinds(decoder)
        if "ByteLevel" in kinds:
            return bytes(_BYTES[character] for character in text if character in _BYTES)
        if "ByteFallback" in kinds and (match := _BYTE_TOKEN.fullmatch(text)):
            return bytes([int(match.group(1), 16)])
        if "Metaspace" in kinds or "Replace" in kinds:
            return text.replace("▁", " ").encode()
        return str(self._tokenizer.decode([token])).encode()

    def _ends(self, control: frozenset[int]) -> frozenset[int]:
        named = self._tokenizer.token_to_id(self._named("eos_token"))
        ends = {named} if named is not None else set()
        for document in (self._generation, self._config):
            given = document.get("eos_token_id")
            ends.update(given if isinstance(given, list) else [] if given is None else [given])
        names = {self._added[token].content: token for token in control}
        ends.update(token for name, token in names.items() if name in _END_NAMES)
        if {"<|return|>", "<|call|>"} <= names.keys():  # gpt-oss: its answers are several messages
            ends.discard(names.get("<|end|>"))
        return frozenset(end for end in ends if end is not None)

    def _named(self, key: str) -> str:
        """The text of a special token, which is written as such or as a description of it."""
        value = self._settings.get(key)
        if isinstance(value, dict):
            value = value.get("content")
        return value if isinstance(value, str) else ""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty for a file that is not there. Raises invalid_model_file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise errors.invalid_model_file(str(path), f"cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise errors.invalid_model_file(str(path), "is not a JSON object")
    return document


def _open_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise errors.invalid_model_file(str(folder), "has no tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the package raises no narrower kind
        raise errors.invalid_model_file(str(path), f"is no tokenizer: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    given = settings.get("chat_template")
    if isinstance(given, list):  # several by name
        by_name = {each.get("name"): each.get("template") for each in given if isinstance(each, dict)}
        given = by_name.get("default")
    return given if isinstance(given, str) else None


def _decoder_kinds(decoder: dict[str, Any] | None) -> set[str]:
    if not decoder:
        return set()
    inner = decoder.get("decoders") or []
    return {str(decoder.get("type"))}.union(*(_decoder_kinds(each) for each in inner))


def _byte_alphabet() -> dict[str, int]:
    """The byte for each character of byte-level tokenizers (GPT-2's `encoder.py`)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    shifted = iter(range(0x100, 0x200))
    return {chr(byte if byte in printable else next(shifted)): byte for byte in range(256)}


_BYTES = _byte_alphabet()


def _require_room(text: str, context_length: int) -> None:
    """Refuse what is too long whatever its tokens are: finding them takes seconds for tens of megabytes."""
    limit, length = context_length * _LONGEST_TOKEN_BYTES, len(text.encode())
    if length > limit:
        raise errors.input_too_long(limit, bytes_=length)
