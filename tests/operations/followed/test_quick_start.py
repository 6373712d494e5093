"""docs/quick-start.md typed from its first command to its last, on free ports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import FOLDER
from tests.operations.followed.ground import DEADLINE_S, ROOT

pytestmark = [pytest.mark.loopback, pytest.mark.long]
# What the text promises of each command: its exit code, and words that it says.
SAYS = {
    "aml run": (0, "stopped after 5 risk cycles"),
    "aml status": (1, "NOT WELL"),
    "aml limits": (0, "the contracts are configured as the file says"),
    "aml explain": (0, "BTC"),
    "aml verify": (0, "reproduces"),
    "aml quote": (1, "no terms: the liquidity pool holds nothing"),
    "aml local status": (0, "clock"),
    "aml local down": (0, ""),
}


def lines() -> list[str]:
    text = (ROOT / "docs" / "quick-start.md").read_text()
    (block,) = re.findall(r"^```\n(make env\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.split(" #")[0].strip() for line in block.splitlines()[2:]]


def test_quick_start__each_command_says_what_the_text_promises(tmp_path: Path) -> None:
    local = re.sub(r"port = 910\d", "port = 0", (FOLDER / "local.toml").read_text())
    (tmp_path / "local.toml").write_text(local)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    told = {**os.environ, "PATH": path, "AML_NETWORK": str(tmp_path / "local.toml")}
    assert [line for line in lines() if not line.startswith(tuple(SAYS))] == []
    try:
        for line in lines():
            ran = subprocess.run(
                line.split(),
                cwd=tmp_path,
                env=told,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            begins = max((each for each in SAYS if line.startswith(each)), key=len)
            code, says = SAYS[begins]
            said = ran.stdout + ran.stderr
            assert (ran.returncode, says in said) == (code, True), (line, said)
    finally:
        down = ["aml", "local", "down"]
        subprocess.run(down, cwd=tmp_path, env=told, capture_output=True, check=False)
