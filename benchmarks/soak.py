"""Whether a daemon grows: `python -m benchmarks.soak --hours 24 --json OUT`.

A daemon on the local world, as `aml run` starts it, plays so many hours of the clock as fast as the
machine can (`--speed` is a ceiling: the clock stands still while a decision is under way). Memory,
open files and threads of the daemon are read from the kernel every few seconds. Growth is the slope
of a straight line through the second half, when caches are warm, times a day of the clock.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from agent.config import FOLDER
from relayer.local import client

HOUR_S, DAY_S = 3_600, 86_400
LOOK_EVERY_S = 5.0
SPEED = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The daemon at one instant: hours of the clock since the start, and what it holds."""

    clock_h: float
    wall_s: float
    memory_mb: float
    files: int
    threads: int
    cycles: int
    price_rounds: int


def soak(hours: float, speed: float, folder: Path) -> list[Look]:
    """Run a daemon for so many hours of the clock; return what was seen."""
    client.start(folder, speed=speed)
    log = folder / "daemon.log"
    daemon = start(folder, log)
    looks: list[Look] = []
    try:
        metrics, began = metrics_of(daemon, log), time.monotonic()
        first_ms = client.status(folder).now_ms
        while not looks or looks[-1].clock_h < hours:
            time.sleep(LOOK_EVERY_S)
            if daemon.poll() is not None:
                raise SystemExit(f"the daemon ended with {daemon.returncode}: see {log}")
            clock_h = (client.status(folder).now_ms - first_ms) / HOUR_S / 1_000
            looks.append(look(daemon.pid, metrics, clock_h, time.monotonic() - began))
            show(looks[-1], hours)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=120)
        client.stop(folder)
    print(f"\nthe daemon ended with {daemon.returncode}", file=sys.stderr)
    return looks


def start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start `aml run` on free ports."""
    config = folder / "soak.toml"
    config.write_text(re.sub(r"port = 910\d", "port = 0", (FOLDER / "local.toml").read_text()))
    command = [sys.executable, "-m", "agent.cli.main", "run", "--network", str(config)]
    return subprocess.Popen([*command, "--state", str(folder)], stderr=log.open("wb"))


def metrics_of(daemon: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the daemon says where its metrics are."""
    while daemon.poll() is None:
        found = re.search(r"metrics at (\S+)", log.read_text())
        if found is not None:
            return found[1]
        time.sleep(0.2)
    raise SystemExit(f"the daemon ended at its start: see {log}")


def look(pid: int, metrics: str, clock_h: float, wall_s: float) -> Look:
    """Read what the kernel and the daemon say of it."""
    status = Path(f"/proc/{pid}/status").read_text()
    with urllib.request.urlopen(metrics, timeout=30) as answer:
        said = answer.read().decode()

    def total(name: str) -> int:
        return int(
            sum(float(v) for v in re.findall(rf"^{name}\{{[^}}]*\}} (\S+)$", said, re.MULTILINE))
        )

    return Look(
        clock_h=round(clock_h, 3),
        wall_s=round(wall_s, 1),
        memory_mb=int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1_024,
        files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(re.findall(r"Threads:\s+(\d+)", status)[0]),
        cycles=total("aml_cycles_total"),
        price_rounds=total("aml_price_rounds_total"),
    )


def show(seen: Look, hours: float) -> None:
    """Print one changing line."""
    print(
        f"\r{seen.clock_h:6.2f} of {hours:g} h, {seen.cycles} cycles, {seen.memory_mb:.0f} MB, "
        f"{seen.files} files, {seen.threads} threads, {seen.wall_s:.0f} s",
        end="",
        file=sys.stderr,
        flush=True,
    )


def summary(looks: Sequence[Look]) -> dict[str, float]:
    """Give the growth of the second half, a day of the clock."""
    warm = looks[len(looks) // 2 :]
    hours = np.array([each.clock_h for each in warm])

    def slope(values: Sequence[float]) -> float:
        return float(np.polyfit(hours, np.array(values), 1)[0]) * DAY_S / HOUR_S

    return {
        "hours": looks[-1].clock_h,
        "wall_s": looks[-1].wall_s,
        "cycles": looks[-1].cycles,
        "price_rounds": looks[-1].price_rounds,
        "memory_mb_half": warm[0].memory_mb,
        "memory_mb_end": warm[-1].memory_mb,
        "memory_mb_a_day": slope([each.memory_mb for each in warm]),
        "files_half": warm[0].files,
        "files_end": warm[-1].files,
        "files_a_day": slope([each.files for each in warm]),
        "threads_half": warm[0].threads,
        "threads_end": warm[-1].threads,
        "threads_a_day": slope([each.threads for each in warm]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Soak, print, and write what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--speed", type=float, default=SPEED)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="aml-soak-") as folder:
        looks = soak(chosen.hours, chosen.speed, Path(folder))
    found = summary(looks)
    for name, value in found.items():
        print(f"{name:16} {value:12.2f}")
    if chosen.json:
        seen = {"summary": found, "looks": [asdict(each) for each in looks]}
        chosen.json.write_text(json.dumps(seen, indent=1))


if __name__ == "__main__":
    main()
