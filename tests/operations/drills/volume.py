"""A disk of one's own that can be frozen: each write to it waits in the kernel until it thaws."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SIZE = "256M"
FROZEN_AT_MOST_S = 1_200
MOUNTS = Path("/proc/mounts")
# A frozen disk outlives whoever froze it, and nothing that waits for it can be killed.
GUARD = """
waited=0
while kill -0 {owner} 2>/dev/null && [ $waited -lt {at_most_s} ]; do
  sleep 1
  waited=$((waited + 1))
done
fsfreeze -u {mount}
kill -0 {owner} 2>/dev/null || umount -l {mount}
"""


def missing() -> str:
    """Say what this machine lacks for a disk that freezes; nothing: it has all."""
    if os.geteuid() != 0:
        return "a disk is mounted and frozen by root alone"
    absent = [name for name in ("mkfs.ext4", "mount", "fsfreeze") if shutil.which(name) is None]
    if absent:
        return f"there is no {', '.join(absent)}"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices"


@dataclass
class Volume:
    """A file that is mounted as a disk."""

    mount: Path
    guard: subprocess.Popen[bytes] | None = None

    def freeze(self) -> None:
        """Let no write return; a process beside this one ends it at the latest."""
        text = GUARD.format(owner=os.getpid(), at_most_s=FROZEN_AT_MOST_S, mount=self.mount)
        self.guard = subprocess.Popen(
            ["sh", "-c", text], start_new_session=True, stderr=subprocess.DEVNULL
        )
        _told("fsfreeze", "-f", str(self.mount))

    def thaw(self) -> None:
        """Let what waits go on; one that is not frozen stays as it is."""
        subprocess.run(["fsfreeze", "-u", str(self.mount)], capture_output=True, check=False)
        if self.guard is not None:
            self.guard.kill()
            self.guard.wait(timeout=30)
            self.guard = None


@contextlib.contextmanager
def volume(folder: Path) -> Iterator[Volume]:
    """Mount a disk in a folder, and take it away."""
    image, made = folder / "disk.img", Volume(folder / "disk")
    _told("truncate", "--size", SIZE, str(image))
    _told("mkfs.ext4", "-q", str(image))
    made.mount.mkdir()
    try:
        _told("mount", "-o", "loop", str(image), str(made.mount))
        yield made
    finally:
        made.thaw()
        if str(made.mount) in MOUNTS.read_text():
            _told("umount", "--lazy", str(made.mount))


def _told(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)
