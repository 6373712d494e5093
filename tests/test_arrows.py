"""The house's arrows: which package may import which, and where each heavy library lives."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "contracts": set(),
    "models": set(),
    "relayer": {"contracts"},
    "agent": {"contracts", "models", "relayer"},
}
HOMES = {
    "sklearn": "models",
    "pandas": "models",
    "skops": "models",
    "ccxt": "relayer",
    "web3": "relayer",
}
SOCKETS = {"socket", "aiohttp", "requests", "httpx", "urllib3", "web3", "ccxt", "websockets"}
FORBIDDEN_NAMES = {"utils", "common", "helpers", "core", "manager", "base"}
MODULES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each absolute import of a module with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, node.lineno


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows__each_module__imports_only_what_its_package_may(path: Path) -> None:
    package = package_of(path)
    heads = {(name.split(".")[0], line) for name, line in imports(path)}
    ours = {(head, line) for head, line in heads if head in ALLOWED and head != package}
    assert not {(head, line) for head, line in ours if head not in ALLOWED[package]}
    assert not {(head, line) for head, line in heads if HOMES.get(head, package) != package}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows__only_the_relayer__opens_sockets(path: Path) -> None:
    if package_of(path) == "relayer":
        return
    assert not {(name, line) for name, line in imports(path) if name.split(".")[0] in SOCKETS}


def test_arrows__no_module__has_a_name_that_says_nothing() -> None:
    assert not [
        path
        for path in MODULES
        if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES
    ]


def test_arrows__every_package__has_a_docstring() -> None:
    missing = [
        package
        for package in ALLOWED
        if not ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
    ]
    assert not missing


def test_arrows__config__holds_no_python() -> None:
    assert not list((ROOT / "config").rglob("*.py"))
