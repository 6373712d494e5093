"""How fast a decision is made: `python -m benchmarks.latency --json OUT`.

Price path: quotes in hand to signed bytes ready (marks, triggers, evidence, words, digest, three
signers that each judge the round and remember it on disk, two signatures, calldata). Risk cycle:
snapshot in hand to signed bytes ready (features, scores, decisions, plans, evidence, three signers,
calldata). Both on one thread; beside them, the libraries' own encoding of the same round. Cold
start: the daemon as a process, embedded chain, history in the store, to its first effective
decision and clean end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from agent.loops import Collector
from benchmarks import latency_world as world

PRICE_ROUNDS, RISK_CYCLES, COLD_STARTS = 400, 40, 3
PAUSE_S = 0.05  # between two turns, as there is one a second; the database tidies up in it
TARGETS = {"price_path_50": 5.0, "risk_cycle_200": 150.0, "cold_start": 15_000.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--no-cold-start", action="store_true", help="leave the processes out")
    options = parser.parse_args(arguments)
    rows = asyncio.run(measure())
    if not options.no_cold_start:
        rows.append({"name": "cold_start", **summary(cold_starts())})
    for row in rows:
        row["target_ms"] = TARGETS.get(row["name"])
    show(rows)
    if options.json:
        options.json.write_text(json.dumps({"unit": "ms", "rows": rows}, indent=1) + "\n")
    return 0


async def measure() -> list[dict[str, Any]]:
    """Time the two paths at 50 and 200 markets, and the libraries' own path beside them."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for markets in (50, 200):
            bench = await world.build(markets, Path(folder) / str(markets))
            try:
                rows.append(await timed(f"price_path_{markets}", bench.price_path, PRICE_ROUNDS))
                rows.append(await timed(f"risk_cycle_{markets}", bench.risk_cycle, RISK_CYCLES))
                if markets == 50:
                    rows.append(await timed("encoding_by_libraries_50", bench.library, 200))
                    rows.append(await timed("encoding_ours_50", bench.ours, 200))
            finally:
                await bench.close()
    return rows


async def timed(name: str, path: Callable[[int], Awaitable[float]], count: int) -> dict[str, Any]:
    """Run a path many times after a warm-up and sum up the milliseconds that it gives."""
    warm = max(3, count // 20)
    gc.collect()
    gc.freeze()  # as the daemon does when it is up
    times, collector = [], Collector()
    for index in range(warm + count):
        with collector.held_off():
            times.append(await path(index))
        await asyncio.sleep(PAUSE_S)
    gc.unfreeze()
    return {"name": name, **summary(times[warm:])}


def cold_starts() -> list[float]:
    """Start the daemon as a process on a running local world whose history is in the store."""
    with tempfile.TemporaryDirectory() as folder:
        aml = [sys.executable, "-m", "agent.cli.main", "run", "--network", "local"]
        command = [*aml, "--state", folder, "--cycles", "1"]
        subprocess.run(command, check=True, capture_output=True)
        times = []
        for _ in range(COLD_STARTS):
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append((time.perf_counter() - began) * 1_000)
        down = [sys.executable, "-m", "agent.cli.main", "local", "down", "--state", folder]
        subprocess.run(down, check=True, capture_output=True)
    return times


def summary(times: Sequence[float]) -> dict[str, Any]:
    """Give the median, the 99th percentile and the largest."""
    ordered = sorted(times)
    return {
        "count": len(ordered),
        "p50_ms": statistics.median(ordered),
        "p99_ms": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "max_ms": ordered[-1],
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"{'path':28} {'runs':>5} {'p50 ms':>10} {'p99 ms':>10} {'max ms':>10} {'target':>8}")
    for row in rows:
        target = f"{row['target_ms']:.0f}" if row.get("target_ms") else "-"
        figures = f"{row['p50_ms']:10.3f} {row['p99_ms']:10.3f} {row['max_ms']:10.3f}"
        print(f"{row['name']:28} {row['count']:5} {figures} {target:>8}")


if __name__ == "__main__":
    sys.exit(main())
