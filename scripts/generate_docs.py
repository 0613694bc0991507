"""Writes the documents that come from the code: the tables of docs/protocol.md (errors and methods), the JSON
Schema of `models.json`, and the JavaScript client's types.

python scripts/generate_docs.py          # rewrite
python scripts/generate_docs.py --check  # exit 1 where a file is not what the code says
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
from client_types import declarations

from native_host.models.schema import models_schema
from native_host.protocol.errors import CATALOGUE
from native_host.protocol.methods import METHODS, Method

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where it would")
    check = parser.parse_args().check
    protocol, schema = DOCS / "protocol.md", DOCS / "models.schema.json"
    fresh = {
        protocol: with_tables(protocol.read_text(encoding="utf-8")),
        schema: schema_document(),
        ROOT / "web" / "client" / "protocol.d.ts": declarations(),
    }
    stale = [file for file, text in fresh.items() if not file.is_file() or file.read_text("utf-8") != text]
    for file in stale:
        if check:
            sys.stderr.write(
                f"{file.relative_to(ROOT)} is not what the code says; run scripts/generate_docs.py\n"
            )
        else:
            file.write_text(fresh[file], encoding="utf-8")
    return int(check and bool(stale))


def schema_document() -> str:
    """The schema of `models.json` as its file has it."""
    return msgspec.json.format(msgspec.json.encode(models_schema()), indent=2).decode() + "\n"


def with_tables(document: str) -> str:
    """The document with every generated part made anew."""
    return fill(fill(document, "errors", error_table()), "methods", method_sections())


def fill(document: str, part: str, text: str) -> str:
    """Replace what stands between the marks of one part. Raises ValueError where a mark is missing."""
    opening, closing = f"<!-- generated: {part} -->\n", "<!-- /generated -->"
    begin = document.index(opening) + len(opening)
    return document[:begin] + text + document[document.index(closing, begin) :]


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def error_table() -> str:
    rows = (
        (str(row.code), f"`{row.kind}`", ", ".join(f"`{name}`" for name in row.data), str(row.http))
        for row in CATALOGUE.values()
    )
    return table(("code", "kind", "data", "HTTP"), rows)


def method_sections() -> str:
    return "\n".join(method_section(method) for method in METHODS.values())


def method_section(method: Method) -> str:
    notes = ["answers before `initialize`"] if method.before_initialize else []
    notes += [f"scope `{method.scope}`"] if method.scope else []
    fields = msgspec.structs.fields(method.params)
    aside = f" ({', '.join(notes)})" if notes else ""
    lines = [f"### `{method.name}`\n", f"{method.summary}{aside}\n"]
    if fields:
        lines.append(table(("param", "type", "default"), map(field_row, fields)))
    return "\n".join(lines)


def field_row(field: msgspec.structs.FieldInfo) -> tuple[str, str, str]:
    return f"`{field.encode_name}`", type_name(field.type), default_of(field)


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{field.default_factory()!r}`"
    return "" if field.default is None or field.default is msgspec.UNSET else f"`{json(field.default)}`"


def json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def type_name(kind: object) -> str:
    """A type as its JSON Schema names it, in a few words."""
    schemas, _ = msgspec.json.schema_components([kind], ref_template="{name}")
    return in_words(schemas[0]).replace("|", "\\|")


def in_words(schema: dict[str, object]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"])
    if isinstance(several := schema.get("anyOf"), list):
        return " | ".join(in_words(one) for one in several if one != {"type": "null"})
    if isinstance(values := schema.get("enum"), list):
        return " | ".join(f"`{json(value)}`" for value in values if value is not None)
    if schema.get("type") == "array" and isinstance(items := schema.get("items"), dict):
        return f"[{in_words(items)}]"
    if isinstance(kinds := schema.get("type"), list):
        return " | ".join(kinds)
    return str(schema.get("type", "any"))


if __name__ == "__main__":
    sys.exit(main())
