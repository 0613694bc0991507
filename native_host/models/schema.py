"""The JSON Schema of `models.json`, for editors and other programs, made from the types that read it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from native_host.models.spec import ModelEntry

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class ModelsFile(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`models.json`: which models there are, and how each is to be loaded."""

    models: Annotated[dict[str, ModelEntry], Meta(description="Each model by its name.")] = {}
    default: Annotated[
        str | None, Meta(description="The model of requests that name none; the first where not given.")
    ] = None
    schema: Annotated[str | None, Meta(description="Where this schema is, for editors.")] = msgspec.field(
        name="$schema", default=None
    )


def models_schema() -> dict[str, Any]:
    """The schema as a JSON document."""
    return {"$schema": _DIALECT, "title": "models.json", **msgspec.json.schema(ModelsFile)}
