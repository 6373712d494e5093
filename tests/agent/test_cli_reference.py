"""The command line as a whole: its page, its examples, its completion, its manners."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from agent.cli.main import app
from agent.cli.reference import commands, page, section

ROOT = Path(__file__).resolve().parent.parent.parent
AML = [sys.executable, "-m", "agent.cli.main"]
COMMANDS = list(commands(typer.main.get_command(app), "aml"))


def test_page__is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == page(app), "run: python -m agent.cli.reference > docs/cli.md"


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_command__help__shows_an_example_of_itself(name: str, command: object) -> None:
    text = "\n".join(section(name, command))
    assert re.search(rf"^    {name}(\s|$)", text, re.MULTILINE), text


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_command__option__says_what_it_is(name: str, command: object) -> None:
    assert "|  |" not in "\n".join(section(name, command))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion__beginning_of_a_command__is_completed(shell: str) -> None:
    told = {
        "_AML_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "aml wat",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "aml wat",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    code = "from agent.cli.main import app; app(prog_name='aml')"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **told},
        check=False,
    )
    assert "watcher" in ran.stdout, ran.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion__tab_in_an_interactive_bash__completes_the_command(tmp_path: Path) -> None:
    """As `aml --install-completion bash` sets it up, in a terminal."""
    commands_here = tmp_path / "bin"
    commands_here.mkdir()
    (commands_here / "aml").write_text(f'#!/bin/sh\nexec {sys.executable} -m agent.cli.main "$@"\n')
    (commands_here / "aml").chmod(0o755)
    path = f"{commands_here}:{os.environ['PATH']}"
    given = {**os.environ, "HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT)}
    install = ["aml", "--install-completion", "bash"]
    subprocess.run(install, env=given, check=True, capture_output=True, timeout=240)
    pid, terminal = pty.fork()
    if pid == 0:  # the shell in the terminal
        os.chdir(tmp_path)
        os.execvpe("bash", ["bash", "-i"], given)
    seen, deadline = b"", time.monotonic() + 240
    try:
        os.write(terminal, b"aml ma\t")
        while b"aml market " not in seen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 1.0)[0]:
                seen += os.read(terminal, 4_096)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert b"aml market " in seen


def test_help__imports_nothing_heavy() -> None:
    """What makes `aml --help` slow is imports; 0.12 s of processor time is what is left."""
    code = (
        "import sys\n"
        "from agent.cli.main import app\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'ccxt', 'web3', 'sqlalchemy', 'pydantic',"
        " 'fastapi', 'aiohttp', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_output__in_a_pipe_and_on_a_terminal__has_no_colour_codes_in_the_pipe() -> None:
    ran = subprocess.run(
        [*AML, "config", "check", "megaeth"], capture_output=True, cwd=ROOT, check=True
    )
    assert b"\x1b[" not in ran.stdout + ran.stderr


def test_fault__exit_code__is_as_documented() -> None:
    faulty = [*AML, "config", "check", "atlantis"]
    assert subprocess.run(faulty, capture_output=True, cwd=ROOT, check=False).returncode == 1
    unknown = [*AML, "no-such-command"]
    assert subprocess.run(unknown, capture_output=True, cwd=ROOT, check=False).returncode == 2
