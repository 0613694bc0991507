"""GPT-2's byte-level alphabet: every byte has one printable character, so 256 tokens can write any text."""

from __future__ import annotations


def byte_alphabet() -> list[str]:
    """The character that stands for each byte, indexed by the byte.

    Printable Latin-1 bytes stand for themselves; the other 68 take the code points from U+0100 on, in order
    (the mapping of GPT-2's `encoder.py`, which llama.cpp and `tokenizers` both use).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    shifted = (chr(0x100 + i) for i in range(256 - len(printable)))
    return [chr(byte) if byte in printable else next(shifted) for byte in range(256)]


def to_alphabet(text: str) -> str:
    """`text` as its UTF-8 bytes in the alphabet: the form in which vocabularies and merges are written."""
    alphabet = byte_alphabet()
    return "".join(alphabet[byte] for byte in text.encode())
