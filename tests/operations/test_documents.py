"""What documents say can be done: commands parse, links lead somewhere, named files exist."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import vyper
from typer.core import TyperGroup

from agent.cli.main import app
from agent.config import load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = [path.name for path in DOCUMENTS]
_FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(aml [^`\n]+)`")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
_FILE = re.compile(r"`((?:agent|benchmarks|config|contracts|docs|models|relayer|tests)/[\w./-]+)`")
_DEFINED = re.compile(r"`(\w+)` in `([\w./]+\.(?:py|vy))`")
_MODULE = re.compile(r"python -m (benchmarks\.\w+)")


def commands(text: str) -> Iterator[str]:
    """Yield each `aml …` of a document: lines of its blocks, and what stands between backticks."""
    blocks = "".join(_FENCED.findall(text)) + "".join(re.findall(r"^ {4}.*\n", text, re.MULTILINE))
    for line in blocks.replace("\\\n", " ").splitlines():
        bare = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
        if bare.startswith("aml "):
            yield bare.split(" #")[0]
    yield from _INLINE.findall(_FENCED.sub("", text))


def fault_of(line: str) -> str | None:
    """Say what the command line has against an example, as far as names go."""
    if re.search(r"[|…]|\.\.\.|\[", line):
        return None  # a family of commands, not one
    words = shlex.split(line)[1:]
    found = typer.main.get_command(app)
    while isinstance(found, TyperGroup):
        if not words or words[0].startswith("-"):
            return None
        name, *words = words
        if name not in found.commands:
            return f"no command {name!r} in {line!r}"
        found = found.commands[name]
    known = {option for each in found.params for option in each.opts + each.secondary_opts}
    given = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = given - known - {"--help"}
    return f"{sorted(unknown)} in {line!r}" if unknown else None


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_document__each_command_exists_with_its_options(document: Path) -> None:
    faults = [fault_of(each) for each in commands(document.read_text())]
    assert [fault for fault in faults if fault is not None] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_document__each_link_leads_to_a_file(document: Path) -> None:
    targets = [link.split("#")[0] for link in _LINK.findall(document.read_text())]
    assert [t for t in targets if t and not (document.parent / t).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_document__each_file_and_benchmark_it_names_exists(document: Path) -> None:
    text = document.read_text()
    named = [each.rstrip(".") for each in _FILE.findall(text)]
    named += [each.replace(".", "/") + ".py" for each in _MODULE.findall(text)]
    assert [each for each in named if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_document__each_function_is_in_the_file_that_it_is_said_to_be_in(document: Path) -> None:
    named = _DEFINED.findall(document.read_text())
    missing = []
    for name, file in named:
        defined = rf"^\s*(async )?(def|class) {name}\b"
        if not re.search(defined, (ROOT / file).read_text(), re.MULTILINE):
            missing.append((name, file))
    assert missing == []


def blocks(language: str) -> list[tuple[str, str]]:
    """Return each block of a language with the document that it stands in."""
    fenced = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(d.name, block) for d in DOCUMENTS for block in fenced.findall(d.read_text())]


@pytest.mark.parametrize(
    ("name", "source"), [each for each in blocks("toml") if each[1].startswith("extends")]
)
def test_document__each_whole_configuration_is_sound(
    name: str, source: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(source)
    assert load_settings(str(path)).network.rpc_url is not None, name


@pytest.mark.parametrize(("name", "source"), blocks("vyper"))
def test_document__each_contract_compiles(name: str, source: str) -> None:
    assert vyper.compile_code(source, output_formats=["bytecode"])["bytecode"].startswith("0x")


@pytest.mark.parametrize(("name", "source"), blocks("python"))
def test_document__each_python_block_runs(name: str, source: str) -> None:
    if ">>>" not in source:
        exec(compile(source, name, "exec"), {})
        return
    example = doctest.DocTestParser().get_doctest(source, {}, name, name, 0)
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


def test_examples__a_command_that_does_not_exist_is_found() -> None:
    assert fault_of("aml frobnicate") is not None
    assert fault_of("aml status --nonsense") is not None
    assert fault_of("aml status --network local") is None
