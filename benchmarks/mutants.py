"""Breaks the contracts' guards one by one, and names those that no test notices.

    python -m benchmarks.mutants --contract MarginEngine.vy --tests tests/contracts --json OUT

Each `refusals.refuse(...)` is removed, its condition inverted, and each `<` in it made `<=` and so
on; each call of a guard such as
`authority._only_owner()` is removed. The tree is copied, the changed contract compiled there, and
the tests run until the first failure: a mutant that passes them all is a missing test. Nothing in
the working tree is touched. Long: some seconds a mutant.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A call that does nothing but refuse.
CALLS = re.compile(
    r"^\s+(?:\w+\._only_\w+|authority\._consume|\w+\._known_tranche|transfers\._take"
    r"|self\._(?:only|enter|check|counts|known|rules|exists|may|meant|observed|managed|countable|grace"
    r"|use_nonce|believed)\w*)\(.*\)$"
)
RAISED = re.compile(r"refusals\.([A-Z_]+)\b")
LIMITS = re.compile(r"(?<= )(<=|>=|<|>)(?= )")
OTHERS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
WORKER = "mutants_worker.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One guard broken: where, and how."""

    source: str
    line: int  # of the guard, from 1
    kind: str  # removed, inverted, shifted
    guard: str
    text: str  # the whole source with the guard broken
    refusals: tuple[str, ...]  # what the guard raises: tests that name it run first


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a mutant."""

    source: str
    line: int
    kind: str
    guard: str
    outcome: str  # killed, survived, not compiled, timed out


def mutants(source: Path) -> Iterator[Mutant]:
    """Break each guard of a source in turn."""
    lines = source.read_text("utf-8").splitlines()
    for index, line in enumerate(lines):
        if "refusals.refuse(" in line and not line.lstrip().startswith("#"):
            indent = line[: len(line) - len(line.lstrip())]
            yield mutant(source, lines, (index, index, f"{indent}pass"), "removed")
            head = condition(lines, index)
            if head is not None:
                yield mutant(source, lines, head, "inverted")
                yield from shifted(source, lines, head)
        elif CALLS.match(line):
            indent = line[: len(line) - len(line.lstrip())]
            yield mutant(source, lines, (index, index, f"{indent}pass"), "removed")


def shifted(source: Path, lines: Sequence[str], inverted: tuple[int, int, str]) -> Iterator[Mutant]:
    """Move each limit of a condition by one: < to <=, and so on."""
    first, last, text = inverted
    straight = text.replace(" not (", " (", 1)
    for found in LIMITS.finditer(straight):
        other = OTHERS[found[0]]
        moved = straight[: found.start()] + other + straight[found.end() :]
        yield mutant(source, lines, (first, last, moved), "shifted")


def condition(lines: Sequence[str], guard: int) -> tuple[int, int, str] | None:
    """Find the `if` that a refusal stands directly under, and write its opposite."""
    last = guard - 1
    while lines[last].lstrip().startswith("#"):
        last -= 1
    if not lines[last].rstrip().endswith(":"):
        return None
    first = last
    while not re.match(r"^\s*(if|elif) ", lines[first]):
        first -= 1
        if last - first > 20:
            return None
    whole = " ".join(part.strip() for part in lines[first : last + 1])
    keyword, _, rest = whole.partition(" ")
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
    return first, last, f"{indent}{keyword} not ({rest[:-1]}):"


def mutant(source: Path, lines: Sequence[str], change: tuple[int, int, str], kind: str) -> Mutant:
    """Put a changed line in the place of others."""
    first, last, new = change
    text = "\n".join([*lines[:first], new, *lines[last + 1 :]]) + "\n"
    guard = " ".join(part.strip() for part in lines[first : last + 1])
    return Mutant(
        source=source.name,
        line=first + 1,
        kind=kind,
        guard=guard,
        text=text,
        refusals=named_refusals(source, lines[first : last + 3]),
    )


def named_refusals(source: Path, lines: Sequence[str]) -> tuple[str, ...]:
    """Name the refusals that a guard raises, also through a function that it calls."""
    found: set[str] = set()
    for line in lines:
        found |= set(RAISED.findall(line))
        if "refuse(" in line:
            break
    for call in re.findall(r"\b(_\w+)\(", lines[0]):
        for each in sorted(source.parent.glob("*.vy")):
            body = re.search(
                rf"^def {call}\(.*?(?=^@|\Z)", each.read_text("utf-8"), re.MULTILINE | re.DOTALL
            )
            found |= set(RAISED.findall(body[0])) if body else set()
    return tuple(sorted(found))


class Worker:
    """The process that compiles and tests in the copied tree."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._process = subprocess.Popen(
            [sys.executable, WORKER],
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, names: Sequence[str], tests: Sequence[str], refusals: Sequence[str]) -> str:
        """Give what compiler and tests say of the tree as it stands."""
        job = {"contracts": names, "tests": tests, "refusals": refusals}
        reads, writes = self._process.stdout, self._process.stdin
        if reads is None or writes is None:
            raise SystemExit("the worker has no pipes")
        writes.write(json.dumps(job) + "\n")
        writes.flush()
        outcome = reads.readline().strip()
        if outcome not in ("survived", "killed", "not compiled", "timed out"):
            raise SystemExit(f"pytest could not run: {(self.tree / 'attempt.log').read_text()}")
        return outcome


def judge(one: Mutant, worker: Worker, names: Sequence[str], tests: Sequence[str]) -> Result:
    """Compile a mutant in the copied tree and let the tests at it."""
    path = worker.tree / "contracts" / one.source
    original = path.read_text("utf-8")
    path.write_text(one.text, "utf-8")
    try:
        outcome = worker.run(names, tests, one.refusals)
    finally:
        path.write_text(original, "utf-8")
    return Result(source=one.source, line=one.line, kind=one.kind, guard=one.guard, outcome=outcome)


def copied_tree(folder: Path) -> Path:
    """Copy what the tests of the contracts need."""
    for name in ("contracts", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    shutil.copy(ROOT / "benchmarks" / WORKER, folder / WORKER)
    return folder


def affected(source: str) -> list[str]:
    """Name the deployed contracts that a source is part of."""
    from contracts import artifacts  # noqa: PLC0415 - only this command needs the table

    return [name for name in artifacts.DEPLOYED if source in artifacts._SOURCES[name]]  # noqa: SLF001


def main(arguments: Sequence[str]) -> int:
    """Run the command line; 1 when a mutant survived."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--contract", action="append", required=True, help="a source's file name")
    parser.add_argument("--tests", nargs="+", default=["tests/contracts"], help="what may notice")
    parser.add_argument("--kind", choices=("removed", "inverted", "shifted"), help="only this kind")
    parser.add_argument("--every", type=int, default=1, help="only each n-th mutant")
    parser.add_argument("--after", type=int, default=0, help="only below this line: to go on")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args(arguments)
    results = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = copied_tree(Path(folder))
        worker = Worker(tree)
        if worker.run([], options.tests, []) != "survived":
            raise SystemExit("the tests fail before anything is broken")
        for name in options.contract:
            found = [
                m
                for m in mutants(ROOT / "contracts" / name)
                if options.kind in (None, m.kind) and m.line > options.after
            ]
            for one in found[:: options.every]:
                results.append(judge(one, worker, affected(name), options.tests))
                last = results[-1]
                place = f"{last.source}:{last.line}"
                print(f"{last.outcome:12} {place} {last.kind}: {last.guard}", flush=True)
                if options.json:
                    written = json.dumps([asdict(each) for each in results], indent=1)
                    options.json.write_text(written + "\n", "utf-8")
    survivors = [each for each in results if each.outcome == "survived"]
    print(f"{len(results)} mutants, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
