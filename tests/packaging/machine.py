"""A booted Debian: systemd as PID 1 over a root folder, its own loopback, changes in memory.

systemd-nspawn runs inside a mount and a process namespace of ours: when we end, so does all of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BOOT_S = 300.0
POWER_OFF = signal.SIGRTMIN + 4
GROUPS = Path("/sys/fs/cgroup")
# nspawn makes its control groups below the one that it is started in: give it one of its own.
START = """
mount -t tmpfs none /run
for top in {groups}; do mkdir $top && echo 0 >$top/cgroup.procs; done
exec {nspawn}
"""
NSPAWN = (
    *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"),
    *("--private-network", "--volatile=overlay", "--machine=aml"),
)
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
ENTER = ("--mount", "--uts", "--ipc", "--net", "--pid", "--root")
ENVIRONMENT = ("PATH=/opt/aml/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A running machine, by the process that is its PID 1."""

    leader: int

    def run(self, script: str, timeout_s: float = 1_200.0) -> subprocess.CompletedProcess[str]:
        """Run a script as the machine's root, whatever it ends with."""
        inside = ("env", "-i", "-C", "/root", *ENVIRONMENT, "HOME=/root", "bash", "-c", script)
        return subprocess.run(
            ["nsenter", "--target", str(self.leader), *ENTER, *inside],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def said(self, script: str) -> str:
        """Run a script that must succeed, and give what it wrote."""
        ran = self.run(script)
        assert ran.returncode == 0, f"{script[:200]}\n{ran.stdout[-2_000:]}\n{ran.stderr[-3_000:]}"
        return ran.stdout.strip()

    def shows(self, unit: str, name: str) -> str:
        """Ask the manager for one property of a unit."""
        return self.said(f"systemctl show --value -p {name} {unit}")

    def journal(self, unit: str) -> str:
        """Read what the journal has of a unit."""
        return self.said(f"journalctl --no-pager -o cat -u {unit}")


def missing() -> str | None:
    """Say why no machine can be booted here."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    tools = [name for name in ("systemd-nspawn", "nsenter") if shutil.which(name) is None]
    return f"needs apt-get install systemd-container ({tools[0]})" if tools else None


@contextlib.contextmanager
def booted(root: Path, shown: Mapping[Path, str]) -> Iterator[Machine]:
    """Boot a root folder, which stays as it is, with files of this machine shown in it."""
    tops = [GROUPS, *(GROUPS / name for name in ("systemd", "unified"))]
    groups = [top / f"aml-{os.getpid()}" for top in tops if (top / "cgroup.procs").exists()]
    binds = [f"--bind-ro={here}:{there}" for here, there in shown.items()]
    nspawn = " ".join([*NSPAWN, f"--directory={root}", *binds])
    start = START.format(groups=" ".join(map(str, groups)), nspawn=nspawn)
    process = subprocess.Popen(
        [*NAMESPACES, "sh", "-ec", start],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield _wait_booted(process)
    finally:
        _end(process)
        _remove(groups)


def _wait_booted(process: subprocess.Popen[bytes]) -> Machine:
    deadline = time.monotonic() + BOOT_S
    while time.monotonic() < deadline and process.poll() is None:
        for leader in _systemd_below(process.pid):
            machine = Machine(leader=leader)
            if "running" in machine.run("systemctl is-system-running").stdout:
                return machine
        time.sleep(1.0)
    raise RuntimeError(f"no machine after {BOOT_S} s; nspawn ended with {process.poll()}")


def _systemd_below(pid: int) -> Iterator[int]:
    """Find the first systemd among a process's descendants."""
    with contextlib.suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                yield child
                return
            yield from _systemd_below(child)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Power off; what does not end in time is killed with its namespaces."""
    for leader in _systemd_below(process.pid):
        os.kill(leader, POWER_OFF)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def _remove(groups: Sequence[Path]) -> None:
    """Take away the control groups, the innermost first; what was killed is a while in them."""
    deadline = time.monotonic() + BOOT_S
    for top in groups:
        for folder in [*sorted(top.rglob("*/"), key=lambda each: -len(each.parts)), top]:
            while not _removed(folder) and time.monotonic() < deadline:
                time.sleep(0.5)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
