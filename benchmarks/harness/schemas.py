"""JSON schemas of many shapes, and whether an answer is of one."""

from __future__ import annotations

import decimal
import json
from pathlib import Path
from typing import TypeAlias, TypedDict

import jsonschema
from jsonschema import Draft202012Validator

FILE = Path(__file__).resolve().parents[2] / "tests" / "forms" / "schemas.json"

Schema: TypeAlias = "bool | dict[str, object]"


class Refused(TypedDict):
    """A schema that is not supported, and the keyword that the refusal names."""

    keyword: str
    schema: Schema


class Schemas(TypedDict):
    """By what they show."""

    answered: dict[str, Schema]
    refused: dict[str, Refused]


def load() -> Schemas:
    """All of them."""
    known: Schemas = json.loads(FILE.read_text(encoding="utf-8"))
    return known


def flaw(schema: Schema, answer: str) -> str | None:
    """What keeps an answer from being of a schema, formats included; None where it is.

    Numbers are compared as they are written: 0.07 is a multiple of 0.01 then, which it is not in floating
    point.
    """
    try:
        value = json.loads(answer, parse_float=_exact)
    except ValueError as error:
        return f"no JSON: {error}"
    exact = json.loads(json.dumps(schema), parse_float=_exact)
    validator = jsonschema.validators.validator_for(exact, default=Draft202012Validator)
    flaws = validator(exact, format_checker=validator.FORMAT_CHECKER).iter_errors(value)
    first = next(flaws, None)
    return None if first is None else f"{first.message} (by {first.validator})"


def _exact(number: str) -> decimal.Decimal | float:
    try:
        return decimal.Decimal(number)
    except decimal.InvalidOperation:
        return float(number)  # an exponent beyond all measure
