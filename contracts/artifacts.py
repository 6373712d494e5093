"""The compiled contracts as package data: load them, compile them again, compare.

`python -m contracts.artifacts --write` compiles the sources and writes artifacts/*.json; `--check`
compiles and compares, and exits 1 when they differ. Only these two need the compiler; `load` and
`standard_json` read what is in the package.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
DEPLOYED: Final = (
    "PriceFeed",
    "RiskOracle",
    "CollateralVault",
    "LiquidityPool",
    "MarginEngine",
    "OrderDesk",
    "Liquidator",
    "MarginViews",
)
SIZE_LIMIT: Final = 24_576  # EIP-170, bytes of deployed code
COMPILER: Final = "0.4.3"
EVM_VERSION: Final = "prague"

_SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "PriceFeed": (
        "PriceFeed.vy",
        "authority.vy",
        "interfaces/IPriceFeed.vyi",
        "quorum.vy",
        "refusals.vy",
    ),
    "RiskOracle": (
        "RiskOracle.vy",
        "authority.vy",
        "halts.vy",
        "interfaces/IRiskOracle.vyi",
        "quorum.vy",
        "refusals.vy",
    ),
    "CollateralVault": (
        "CollateralVault.vy",
        "interfaces/ICollateralVault.vyi",
        "interfaces/ILiquidityPool.vyi",
        "interfaces/ILock.vyi",
        "refusals.vy",
        "transfers.vy",
    ),
    "LiquidityPool": (
        "LiquidityPool.vy",
        "authority.vy",
        "interfaces/ICollateralVault.vyi",
        "interfaces/IExposure.vyi",
        "interfaces/ILiquidityPool.vyi",
        "interfaces/ILock.vyi",
        "refusals.vy",
        "requests.vy",
        "shares.vy",
        "transfers.vy",
    ),
    "MarginEngine": (
        "MarginEngine.vy",
        "authority.vy",
        "interfaces/ICollateralVault.vyi",
        "interfaces/ILiquidityPool.vyi",
        "interfaces/ILock.vyi",
        "interfaces/IMarginEngine.vyi",
        "interfaces/IPriceFeed.vyi",
        "interfaces/IRiskOracle.vyi",
        "margin_math.vy",
        "margin_words.vy",
        "refusals.vy",
    ),
    "OrderDesk": (
        "OrderDesk.vy",
        "interfaces/IMarginEngine.vyi",
        "interfaces/IOrderDesk.vyi",
        "interfaces/IRiskOracle.vyi",
        "margin_math.vy",
        "margin_words.vy",
        "refusals.vy",
    ),
    "Liquidator": (
        "Liquidator.vy",
        "interfaces/ILiquidator.vyi",
        "interfaces/ILiquidityPool.vyi",
        "interfaces/IMarginEngine.vyi",
        "interfaces/IPriceFeed.vyi",
        "interfaces/IRiskOracle.vyi",
        "liquidation_math.vy",
        "margin_math.vy",
        "margin_words.vy",
        "refusals.vy",
    ),
    "MarginViews": (
        "MarginViews.vy",
        "interfaces/ICollateralVault.vyi",
        "interfaces/IExposure.vyi",
        "interfaces/ILiquidityPool.vyi",
        "interfaces/IMarginEngine.vyi",
        "interfaces/IMarginViews.vyi",
        "interfaces/IPriceFeed.vyi",
        "interfaces/IRiskOracle.vyi",
        "margin_math.vy",
        "margin_words.vy",
        "refusals.vy",
    ),
}
_OUTPUTS: Final = ["abi", "evm.bytecode", "evm.deployedBytecode"]
# Raised with raw_revert, so the compiler does not know it.
_REFUSED_ERROR: Final = {
    "type": "error",
    "name": "Refused",
    "inputs": [{"name": "code", "type": "uint256"}],
}


class ArtifactError(Exception):
    """An artifact is missing, damaged, or not what its sources compile to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One contract as it is deployed: ABI, creation bytecode, deployed bytecode, sources' hash."""

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: bytes
    runtime_bytecode: bytes
    sources_sha256: str


def load(name: str) -> Artifact:
    """Read a contract's artifact from the package."""
    path = _path(name)
    if not path.is_file():
        raise ArtifactError(f"no artifact {name!r}; there are {', '.join(DEPLOYED)}")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Artifact(
            name=fields["name"],
            abi=tuple(fields["abi"]),
            bytecode=bytes.fromhex(fields["bytecode"].removeprefix("0x")),
            runtime_bytecode=bytes.fromhex(fields["runtime_bytecode"].removeprefix("0x")),
            sources_sha256=fields["sources_sha256"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path.name} is damaged ({error}); reinstall the package") from error


def standard_json(name: str) -> dict[str, Any]:
    """Give the compiler's standard JSON input, as explorers ask for to verify a deployment."""
    sources = _read_sources(name)
    return {
        "language": "Vyper",
        "sources": {
            path: {"content": text} for path, text in sources.items() if path.endswith(".vy")
        },
        "interfaces": {
            path: {"content": text} for path, text in sources.items() if path.endswith(".vyi")
        },
        "settings": {
            "evmVersion": EVM_VERSION,
            "optimize": "gas",
            "search_paths": ["."],
            "outputSelection": {f"contracts/{name}.vy": _OUTPUTS},
        },
    }


def _path(name: str) -> Path:
    return FOLDER / "artifacts" / f"{name}.json"


def _read_sources(name: str) -> dict[str, str]:
    """Read a contract's sources by the paths that its imports use."""
    if name not in _SOURCES:
        raise ArtifactError(f"no contract {name!r}; there are {', '.join(DEPLOYED)}")
    return {
        f"contracts/{path}": (FOLDER / path).read_text(encoding="utf-8") for path in _SOURCES[name]
    }


def sources_sha256(name: str) -> str:
    """Hash a contract's sources: what `load(name).sources_sha256` must be."""
    digest = hashlib.sha256()
    for path, text in sorted(_read_sources(name).items()):
        digest.update(f"{path}\0{text}\0".encode())
    return digest.hexdigest()


def compile_contract(name: str) -> dict[str, Any]:
    """Compile a contract from the package's sources; needs the compiler of the dev extra."""
    import vyper  # noqa: PLC0415  # the package must work without the compiler
    from vyper.cli.vyper_json import compile_json  # noqa: PLC0415

    if vyper.__version__.partition("+")[0] != COMPILER:
        raise ArtifactError(f"Vyper {vyper.__version__} is installed; these sources are {COMPILER}")
    output = compile_json(standard_json(name))["contracts"][f"contracts/{name}.vy"][name]
    runtime = output["evm"]["deployedBytecode"]["object"]
    if len(runtime) // 2 > SIZE_LIMIT:
        raise ArtifactError(f"{name} deploys {len(runtime) // 2} bytes; at most {SIZE_LIMIT}")
    return {
        "name": name,
        "compiler": f"vyper {COMPILER}",
        "evm_version": EVM_VERSION,
        "sources_sha256": sources_sha256(name),
        "abi": [*output["abi"], _REFUSED_ERROR],
        "bytecode": output["evm"]["bytecode"]["object"],
        "runtime_bytecode": runtime,
    }


def _render(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, indent=1, sort_keys=True) + "\n"


def write() -> None:
    """Compile every contract and replace its artifact."""
    for name in DEPLOYED:
        path = _path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(_render(compile_contract(name)), encoding="utf-8")


def stale() -> tuple[str, ...]:
    """Compile every contract and name those whose artifact differs."""
    return tuple(
        name
        for name in DEPLOYED
        if not _path(name).is_file()
        or _path(name).read_text(encoding="utf-8") != _render(compile_contract(name))
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command line; 0 when the artifacts are those of the sources."""
    parser = argparse.ArgumentParser(prog="python -m contracts.artifacts", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="compile and replace")
    action.add_argument("--check", action="store_true", help="compile and compare")
    if parser.parse_args(arguments).write:
        write()
        return 0
    names = stale()
    if names:
        sys.stderr.write(f"stale: {', '.join(names)}; run python -m contracts.artifacts --write\n")
    return 1 if names else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
