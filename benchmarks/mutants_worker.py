"""Compiles and tests broken contracts, each in a fork of one process that has its libraries loaded.

Run by benchmarks.mutants inside its copy of the tree: a line of JSON in for each attempt (the
deployed contracts to compile, the test files, the refusals that concern the broken guard), the
outcome out. Tests that name such a refusal run first, so that most mutants fall at once.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

LOADED = ("eth.vm.forks.prague", "eth_tester", "hypothesis", "pyrevm", "vyper.cli.vyper_json")
NOT_COMPILED = 100
TIMEOUT_S = 900
# pytest's: all passed, some failed, broken before the first test
OUTCOMES = {
    0: "survived",
    1: "killed",
    2: "killed",
    NOT_COMPILED: "not compiled",
    -signal.SIGALRM: "timed out",
}


class First:
    """A plugin of pytest that puts the likeliest tests first."""

    def __init__(self, names: Sequence[str]) -> None:
        self._named = re.compile("|".join(rf"\b{name}\b|_{name.lower()}" for name in names))
        self._wanted = bool(names)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Sort the tests, otherwise as they were."""
        if self._wanted:
            items.sort(key=lambda item: not self._named.search(inspect.getsource(item.function)))


def recompile(artifacts: ModuleType, name: str) -> None:
    """Replace an artifact's creation code, and nothing else of it: that is what tests deploy."""
    compiler = importlib.import_module("vyper.cli.vyper_json")
    asked = artifacts.standard_json(name)
    source = f"contracts/{name}.vy"
    asked["settings"]["outputSelection"] = {source: ["evm.bytecode.object"]}
    output = compiler.compile_json(asked)["contracts"][source][name]
    path = artifacts.FOLDER / "artifacts" / f"{name}.json"
    fields = json.loads(path.read_text("utf-8"))
    fields["bytecode"] = output["evm"]["bytecode"]["object"]
    path.write_text(json.dumps(fields), "utf-8")


def attempt(job: Mapping[str, Any]) -> int:
    """Compile and test; pytest's exit code, or NOT_COMPILED."""
    pytest = importlib.import_module("pytest")
    artifacts = importlib.import_module("contracts.artifacts")
    try:
        for name in job["contracts"]:
            recompile(artifacts, name)
    except Exception:  # noqa: BLE001 - whatever the compiler says of a mutant, there is none
        return NOT_COMPILED
    options = ["-x", "-q", "-n", "0", "-m", "not long", *job["tests"]]
    return int(pytest.main(options, plugins=[First(job["refusals"])]))


def child(job: Mapping[str, Any], log: Path) -> int:
    """Attempt a job with its output in a file."""
    signal.alarm(TIMEOUT_S)
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    return attempt(job)


def main() -> None:
    """Serve attempts until the input ends."""
    for name in LOADED:
        try:
            importlib.import_module(name)
        except ImportError:  # not on every interpreter; then it is not used
            continue
    gc.freeze()
    gc.disable()  # an attempt lives for seconds
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            code = NOT_COMPILED
            try:
                code = child(json.loads(line), Path("attempt.log"))
            finally:
                os._exit(code)
        _, status = os.waitpid(process, 0)
        print(OUTCOMES.get(os.waitstatus_to_exitcode(status), "could not run"), flush=True)


if __name__ == "__main__":
    main()
