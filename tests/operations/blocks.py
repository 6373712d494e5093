"""The documents' shell blocks: which run in the tests, which do not and why.

`python -m tests.operations.blocks` prints the second list.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_ANY = re.compile(r"^( *)```(\w*)\n(.*?)^ *```\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of shell commands, and where it stands."""

    document: str
    source: str

    @property
    def begins(self) -> str:
        return self.source.splitlines()[0].split(" #")[0].strip().removeprefix("$ ")

    @property
    def name(self) -> str:
        return f"{self.document}: {self.begins[:60]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a block is run: words put in for others, lines left out, what it answers."""

    document: str
    begins: str
    words: Mapping[str, str] | None = None
    without: str = r"(?!)"
    given: str = ""
    exit_code: int = 0
    says: tuple[str, ...] = ()
    then: str = ""  # what its reader does next, to see that it came out right


RUNS = (
    Run(
        document="key-ceremony.md",
        begins="umask 077",
        words={"/etc/aml": "hosts"},
        says=("0x",),
        then="stat -c %a hosts/signer-1/price | grep -qx 600",
    ),
    Run(
        document="keys.md",
        begins="aml keys new keys/price-1.json",
        without=r"kms:",  # needs an account of AWS
        given="4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318\n",
        says=("0x2c7536E3605D9C16a7a3D7b1898e529396a65c23", "keep them apart"),
    ),
    Run(
        document="high-availability.md",
        begins="mkdir -p ha && for name in a b; do",
        then="aml config check ha/a.toml ha/b.toml && ! diff -q ha/a.toml ha/b.toml",
    ),
    Run(
        document="quotes.md",
        begins="aml quote 0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045 ETH long 0.5 5x --mode cross",
        without=r"^aml quote 0x",  # needs contracts: tests/agent/test_cli_quote.py
        words={r"\[.*\]": "", "ACCOUNT MARKET SIDE SIZE LEVERAGE": "0xd8dA ETH long 0.5 5x"},
        exit_code=1,
        says=("0xd8dA",),
    ),
)
"""Run from an empty folder that has config/local.toml."""

SERVICE = "a machine with systemd, PostgreSQL or a container engine, and root on it"
STANDING = "contracts, exchanges and a daemon: {}"
NOT_RUN: Mapping[tuple[str, str], str] = {
    ("crises.md", "python -m benchmarks.crises"): "hours, and recorded data",
    ("evaluation.md", "python -m benchmarks.models"): "an hour, and recorded data",
    ("mutation.md", "python -m benchmarks.mutants"): "hours",
    ("models.md", "aml models train --data"): (
        "training takes minutes; evaluate, card, list, promote and rollback run as they are "
        "typed in tests/agent/test_cli_models.py"
    ),
    ("models.md", "aml models train --before"): "recorded data, and tens of minutes",
    ("reliability.md", "make chaos"): "minutes; CI has tests/relayer/delivery/test_chaos.py",
    ("reliability.md", "--decisions 2000"): "output, not a command",
    ("quick-start.md", "make demo"): "CI runs it as a step of its own",
    ("quick-start.md", "make env"): STANDING.format(
        "tests/operations/followed, with the long ones"
    ),
    ("deploying.md", "aml deploy"): STANDING.format(
        "tests/operations/followed, with the long ones"
    ),
    ("halves.md", "aml local up"): STANDING.format("tests/agent/test_halves.py"),
    ("high-availability.md", "createuser"): SERVICE,
    ("high-availability.md", "aml local up"): STANDING.format(
        "tests/agent/test_high_availability.py"
    ),
    ("impact.md", "aml approve"): STANDING.format("tests/agent/test_impact_budget.py"),
    ("integrating.md", "curl"): STANDING.format("tests/operations/followed, with the long ones"),
    ("operations-commands.md", "aml halt"): STANDING.format("tests/agent/owner/test_cli_owner.py"),
    ("operations-commands.md", "aml resume"): STANDING.format(
        "tests/agent/owner/test_cli_owner.py"
    ),
    ("operations-commands.md", "aml owner show"): STANDING.format(
        "tests/agent/owner/test_cli_owner.py"
    ),
    ("operations-commands.md", "aml check"): STANDING.format("tests/agent/checks"),
    ("operations-commands.md", "aml status"): STANDING.format("tests/agent/test_wellbeing.py"),
    ("operators-guide.md", ""): "`make rehearsal` runs the page from above to below, as root",
    ("positions.md", "systemctl"): SERVICE,
    ("signers.md", "aml signer"): STANDING.format("tests/agent/test_signer_processes.py"),
    ("signers.md", "aml approve"): STANDING.format("tests/agent/test_own_impact.py"),
}


def blocks() -> Iterator[Block]:
    """Yield each shell block of the documents."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for found in _ANY.finditer(path.read_text()):
            indent, language, source = found.groups()
            if language in {"", "console", "bash", "sh"}:
                lines = [line.removeprefix(indent) for line in source.splitlines()]
                yield Block(document=path.name, source="\n".join(lines))


def run_of(block: Block) -> Run | None:
    """Find how a block is run, if it is."""
    found = (r for r in RUNS if (r.document, r.begins) == (block.document, block.begins))
    return next(found, None)


def reason_of(block: Block) -> str | None:
    """Find why a block is not run, if it is not."""
    found = (
        reason
        for (document, begins), reason in NOT_RUN.items()
        if document == block.document and block.begins.startswith(begins)
    )
    return next(found, None)


def script(block: Block, run: Run) -> str:
    """Write what bash is given: the block, with the words and without the lines that are told."""
    lines = block.source.replace("\\\n", " ").splitlines()
    text = "\n".join(line for line in lines if not re.search(run.without, line))
    for old, new in (run.words or {}).items():
        text = re.sub(old, new, text)
    return f"{text}\n{run.then}\n"


def main() -> None:
    """Print each block that is not run, and why."""
    for block in blocks():
        if run_of(block) is None:
            sys.stdout.write(f"{block.name:<90} {reason_of(block)}\n")


if __name__ == "__main__":
    main()
