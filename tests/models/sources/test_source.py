"""What a pull may be asked for."""

from __future__ import annotations

import pytest

from native_host.models.sources.source import FileSource, HubSource, WebSource, parse_source
from native_host.protocol.errors import RpcError

SHA = "ab" * 32


def test_the_three_kinds() -> None:
    assert parse_source("hf:owner/repo") == HubSource("owner/repo")
    assert parse_source("hf:owner/repo:Q8_0") == HubSource("owner/repo", "Q8_0")
    assert parse_source("file:/a/b.gguf") == parse_source("file:///a/b.gguf") == FileSource("/a/b.gguf")
    web = parse_source(f"https://example.org/a%20b/m.gguf?x=1#sha256={SHA.upper()}")
    assert web == WebSource("https://example.org/a%20b/m.gguf?x=1", SHA)
    assert isinstance(web, WebSource)
    assert web.file_name == "m.gguf"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is none of"),
        ("owner/repo", "is none of"),
        ("ftp://example.org/m.gguf", "is none of"),
        ("hf:repo", "names no repository"),
        ("hf:owner/../x", "names no repository"),
        ("hf:../owner", "names no repository"),
        ("file:", "absolute path"),
        ("file:m.gguf", "absolute path"),
        ("https://example.org/m.gguf", "checksum"),
        ("https://example.org/m.gguf#sha256=12", "checksum"),
        (f"http://example.org/m.gguf#sha256={SHA}", "only https"),
        (f"https://example.org/#sha256={SHA}", "names no file"),
        (f"https://example.org/a/..#sha256={SHA}", "names no file"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(RpcError, match=why) as refused:
        parse_source(text)
    assert refused.value.kind == "invalid_params"
    assert refused.value.data["path"] == "source"
