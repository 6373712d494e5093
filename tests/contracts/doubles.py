"""Contracts that exist for tests only, compiled from tests/contracts/tokens when asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from vyper.cli.vyper_compile import compile_files

from contracts.artifacts import Artifact
from tests.contracts.chain import Contract, Evm

_FOLDER = Path(__file__).parent / "tokens"
_ROOT = Path(__file__).parents[2]


@cache
def compiled(name: str) -> Artifact:
    """Compile a contract of tests/contracts/tokens."""
    path = _FOLDER / f"{name}.vy"
    formats = ("abi", "bytecode", "bytecode_runtime")
    ((_, output),) = compile_files([path], formats, paths=[str(_ROOT)]).items()
    return Artifact(
        name=name,
        abi=tuple(output["abi"]),
        bytecode=bytes.fromhex(output["bytecode"].removeprefix("0x")),
        runtime_bytecode=bytes.fromhex(output["bytecode_runtime"].removeprefix("0x")),
        sources_sha256="",
    )


def double(evm: Evm, name: str, sender: str, *arguments: Any) -> Contract:
    """Deploy a contract of tests/contracts/tokens."""
    return Contract(evm, compiled(name), sender, arguments)
