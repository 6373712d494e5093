"""Inside of the layer: run each block in order, and hold what it prints against the promises."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.operations.guide import table
from tests.operations.guide.page import ROOT, Block, blocks

HOME = Path("/root/release")  # the checkout that the guide speaks of
STATE = Path("/root/shell")  # what a shell of an operator's keeps from block to block
LOOPBACK = Path("/run/loopback")
BLOCK_S = 3_600.0
FAILED = 1
KEEP = """
{ declare -f; export -p; printf 'cd %q\\n' "$PWD"; } > /root/shell
"""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(manner: str, source: str) -> int:
    """Follow the page; give the exit code."""
    began = time.monotonic()
    prepare()
    done: list[Block] = []
    if source == "checkout":
        borrow()
    while len(done) < len(page := page_of(source)):
        block = page[len(done)]
        fault = follow(block)
        if fault is None:
            done.append(block)
            continue
        say(f"FAILED {block.name}: {block.first}\n{fault}")
        if manner != "hold":
            return FAILED
        wait_for_mending()
    say(f"{len(done)} blocks of the guide, {time.monotonic() - began:.0f} s")
    return 0


def page_of(source: str) -> list[Block]:
    """Give the blocks; without a wheel none that installs one."""
    without = {"Install, block 1", "Install, block 2", "Upgrade, block 1"}
    return [b for b in blocks() if source == "wheel" or b.name not in without]


def borrow() -> None:
    """Let this checkout's environment stand for an installed one, to try the rest sooner."""
    site = next((ROOT / ".venv" / "lib").glob("python3*/site-packages"))
    shell(f"mkdir {site}/agent && cp -r {ROOT}/config {site}/agent/shipped_config")
    shell(f"ln -s {ROOT}/.venv /opt/aml-0.1.0 && ln -s aml-0.1.0 /opt/aml")
    STATE.write_text(f"export PATH=/opt/aml/bin:$PATH\ncd {HOME}\n")
    say("left out: what installs a wheel; this checkout's own environment stands for it")


def wait_for_mending() -> None:
    """Wait until somebody who writes the page or the table makes the file /root/again."""
    again = Path("/root/again")
    while not again.exists():
        time.sleep(1)
    again.unlink()
    importlib.reload(table)


def prepare() -> None:
    """Give the layer what a server has: a checkout, PostgreSQL, and stand-ins for two programs."""
    Path("/root").chmod(0o755)  # where Python is root's own, units of other users start it as well
    for folder in ("/run/postgresql", "/run/aml-units", "/etc/systemd/system"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    shutil.chown("/run/postgresql", "postgres", "postgres")
    shell(f"git clone -q --no-hardlinks {ROOT} {HOME}")
    shell(f"ln -s {ROOT}/.venv {ROOT}/node_modules {HOME}/")
    manager = Path(__file__).with_name("manager.py")
    for name, text in table.SHIMS.items():
        script = Path("/usr/local/sbin") / name
        body = text.format(python=sys.executable, manager=manager)
        script.write_text(f"#!/bin/bash\n{body}\n")
        script.chmod(0o755)
    STATE.write_text(f"cd {HOME}\n")
    LOOPBACK.touch()
    shell(f"unshare --net={LOOPBACK} ip link set lo up")
    cluster = (
        "pg_lsclusters -h | grep -q . || pg_createcluster $(ls /usr/lib/postgresql | tail -1) main"
    )
    shell(f"({cluster}) && pg_ctlcluster $(pg_lsclusters -h | awk '{{print $1, $2; exit}}') start")


def shell(text: str) -> None:
    """Do what is no part of the guide; on the loopback that it has, where there is one already."""
    apart = [f"--net={LOOPBACK}"] if LOOPBACK.exists() and "unshare" not in text else []
    way = ["nsenter", *apart] if apart else []
    made = subprocess.run([*way, "bash", "-ec", text], capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit(f"{text}\n{made.stdout}{made.stderr}")


def follow(block: Block) -> str | None:
    """Do one block; say what is wrong with what came of it."""
    for (section, begins), why in table.NOT_RUN.items():
        if block.section == section and block.text.startswith(begins):
            say(f"listed {block.name}: {why}")
            return None
    began = time.monotonic()
    patience = next(
        (
            seconds
            for (section, begins), seconds in table.PATIENT_S.items()
            if block.section == section and block.text.startswith(begins)
        ),
        0.0,
    )
    while True:
        fault = written(block) if block.kind == "toml" else ran(block)
        if fault is None:
            break
        if time.monotonic() - began > patience:
            return fault
        time.sleep(5)
    took = f"{time.monotonic() - began:.0f} s"
    say(f"ok     {block.name}: {block.first} ({took})")
    return None


def written(block: Block) -> str | None:
    """Write a file that the page shows, with the addresses that were printed."""
    named = re.match(r"# (/etc/aml/\S+)\n", block.text)
    text = block.text
    for words in table.IN_FILES:
        text = text.replace(words.guide, words.here)
    asked = ""
    for number, (address, told) in enumerate(table.ADDRESSES.items()):
        if address in text:
            asked += f"told{number}={told}\n"  # apart, so that one that fails ends the block
            text = text.replace(address, f"$told{number}")
    file = named[1] if named else "/etc/aml/aml.toml"
    numbers = table.SIGNERS if "signer-1" in file else (1,)
    files = [(file.replace("signer-1", f"signer-{n}"), text) for n in numbers]
    script = "".join(f"cat > {to} <<END\n{body}END\n" for to, body in files)
    return _run(asked + script, block)


def ran(block: Block) -> str | None:
    """Run a shell block."""
    text = block.text
    for each in table.INSTEAD:
        text = text.replace(each.guide, each.here)
    if text.startswith(table.EACH_SIGNER):
        rest = text.removeprefix(table.EACH_SIGNER)
        turns = [f"(\nN={n}\n{rest}) & turns+=($!)\n" for n in table.SIGNERS]  # hosts of their own
        text = f"turns=()\n{''.join(turns)}for turn in ${{turns[@]}}; do wait $turn; done\n"
    return _run(text, block)


def _run(text: str, block: Block) -> str | None:
    """Run a script in the shell's state of before, and keep what it leaves."""
    Path("/root/block.sh").write_text(f"set -euo pipefail\n. {STATE}\n{text}{KEEP}")
    out = Path("/root/block.out")
    # packages come from an index; everything after them is on a loopback without any other network
    way = () if block.section == "Install" else ("nsenter", f"--net={LOOPBACK}")
    with out.open("wb") as printed:
        try:
            code = subprocess.run(
                [*way, "bash", "/root/block.sh"],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=BLOCK_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return f"not done within {BLOCK_S:.0f} s\n{out.read_text()[-3_000:]}"
    said = out.read_text(errors="replace")
    with Path("/root/said").open("a") as kept:
        kept.write(f"== {block.name}\n{said}")
    if code:
        return f"exit code {code}\n{said[-3_000:]}"
    if "contractAddress" in said:
        Path("/root/token").write_text(re.findall(r'contractAddress":"(0x\w+)', said)[0])
    missing = [each for each in promised(block) if not re.search(each, said)]
    return None if not missing else f"it does not print {missing[0]!r}, but\n{said[-3_000:]}"


def promised(block: Block) -> list[str]:
    """Give what a block must print."""
    return [
        wanted
        for section, begins, wanted in table.PROMISES
        if block.section == section and block.text.startswith(begins)
    ]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
