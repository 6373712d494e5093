"""Shell blocks of the documents, run as they stand; each that is not has its reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agent.config import FOLDER, load_settings
from tests.operations.blocks import (
    NOT_RUN,
    ROOT,
    RUNS,
    Block,
    Run,
    blocks,
    reason_of,
    run_of,
    script,
)

DECIDED = [(block, run) for block in blocks() if (run := run_of(block)) is not None]
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
ADDRESS = "0x1111111111111111111111111111111111111111"


def test_blocks__each_is_run_or_says_why_not() -> None:
    undecided = [
        block.name for block in blocks() if (run_of(block) is None) == (reason_of(block) is None)
    ]
    assert undecided == []


def test_blocks__nothing_is_decided_of_a_block_that_is_gone() -> None:
    found = list(blocks())
    assert len(DECIDED) == len(RUNS)
    stale = [
        key
        for key in NOT_RUN
        if not any(each.document == key[0] and each.begins.startswith(key[1]) for each in found)
    ]
    assert stale == []


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """An empty folder of somebody who reads, with what stands in a checkout."""
    (tmp_path / "config").mkdir()
    shutil.copy(FOLDER / "local.toml", tmp_path / "config" / "local.toml")
    return tmp_path


@pytest.mark.loopback
@pytest.mark.parametrize(("block", "run"), DECIDED, ids=[block.name for block, _ in DECIDED])
def test_block__does_what_it_says(block: Block, run: Run, desk: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(block, run)],
        input=run.given,
        cwd=desk,
        env={**os.environ, "PATH": path, "HOME": str(desk)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == run.exit_code, said
    assert [each for each in run.says if each not in said] == [], said


SETTINGS = [
    (path.name, source)
    for path in sorted((ROOT / "docs").glob("*.md"))
    for source in TOML.findall(path.read_text())
    if path.name != "operators-guide.md" and not source.startswith(("extends", "title"))
]


@pytest.mark.parametrize(("name", "source"), SETTINGS)
def test_block__each_table_of_settings_is_known_and_fits(
    name: str, source: str, tmp_path: Path
) -> None:
    written = re.sub(r'"0x…"', f'"{ADDRESS}"', source)
    assert tomllib.loads(written), name
    path = tmp_path / "mine.toml"
    # The table of one signer is an example of three.
    quorum = "[deployment]\nprice_threshold = 1\nrisk_threshold = 1\n"
    path.write_text(f'extends = "local"\n{written}\n{quorum if "peers" in written else ""}')
    load_settings(str(path))
