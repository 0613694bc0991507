"""Each script in examples/ runs as its README says, and says something real."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import tabagent_model

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TOLD = {
    "hardware_report.py": [re.escape(tabagent_model.get_cpu_variant()), r"GiB free", r"libllama"],
    "generate.py": [r"million parameters", r"A worker is .*\w", r"Which formats can it run\?\n.*(GGUF|gguf)"],
    "streaming.py": [r"\[\d+ tokens, \d+ a second, ended by (stop|length)\]"],
    "many_prompts.py": [r"worker: .*worker", r"frame: .*frame", r"8 answers, \d+ tokens in"],
    "json_schema.py": [r"(Review\(mood='(glad|angry|neutral)', stars=[1-5], topics=\[.*\]\)\n){2}"],
    "tools.py": [r"called (add|today)\(\{.*\}\) = \d"],
}
OTHERS = {"fastapi_server.py", "embedding_search.py"}
"""Scripts that are started in another way below."""


def run(*arguments: str | Path) -> str:
    ran = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("name", TOLD)
def test_a_script_says_something_real(name: str) -> None:
    said = run(Path("examples") / name)
    for pattern in TOLD[name]:
        assert re.search(pattern, said), said


def test_numbers_are_added_if_the_model_adds_them() -> None:
    said = run("examples/tools.py")
    added = re.search(r"called add\(\{'a': (\d+), 'b': (\d+)\}\) = (\d+)", said)
    assert added is None or int(added.group(1)) + int(added.group(2)) == int(added.group(3))


def test_the_search_finds_what_is_meant(minilm: Path, tmp_path: Path) -> None:
    (tmp_path / "pets.txt").write_text("A kitten sleeps on the sofa.\n\nThe dog barks at the postman.")
    (tmp_path / "money.md").write_text("The bank raises its interest rates.")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    said = run("examples/embedding_search.py", minilm, tmp_path, "a young cat")
    best, *others = said.splitlines()
    assert "pets.txt: A kitten" in best
    assert len(others) == 2


def test_the_server_streams() -> None:
    server = subprocess.Popen(
        [sys.executable, "examples/fastapi_server.py", "0"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    try:
        told = iter(server.stderr.readline, "")
        address = next(found.group() for line in told if (found := re.search(r"http://[\d.:]+", line)))
        with httpx.stream(
            "GET", f"{address}/ask", params={"question": "What is a worker?"}, timeout=100
        ) as answer:
            assert answer.status_code == 200
            assert "worker" in answer.read().decode().lower()
        continued = httpx.get(f"{address}/continue", params={"prompt": "The host"}, timeout=100).json()
        assert continued["text"].strip()
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_no_script_is_left_out() -> None:
    scripts = {file.name for file in EXAMPLES.glob("*.py")}
    assert scripts == set(TOLD) | OTHERS
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in scripts:
        assert f"`{name}`" in readme
        assert f"Run: python examples/{name}" in (EXAMPLES / name).read_text(encoding="utf-8")
