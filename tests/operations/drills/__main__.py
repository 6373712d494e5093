"""`python -m tests.operations.drills`: provoke every alert, and write docs/drills.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.operations.drills.catalogue import SCENES
from tests.operations.drills.report import write
from tests.operations.drills.script import Case, Row, Scene, play
from tests.operations.drills.server import NotInTimeError, Prometheus

KEPT = Path("dist/drills")


def main() -> None:
    """Run scenes, keep what came of each, and write the page when none is missing."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--scene", choices=[each.name for each in SCENES], help="this one alone")
    asked.add_argument("--only", default="", help="alerts, separated by commas")
    asked.add_argument("--write", action="store_true", help="write the page of what is kept")
    given = asked.parse_args()
    if given.write:
        return write(_kept())
    only = {each for each in given.only.split(",") if each}
    rows: list[Row] = []
    for scene in SCENES:
        if given.scene in {None, scene.name}:
            rows += run(scene, only)
    if not only and given.scene is None:
        write(_kept())
    raise SystemExit(0 if all(row.passed for row in rows) else 1)


def _kept() -> list[Row]:
    """Give the last row of each alert."""
    return [Row(**json.loads(path.read_text())) for path in sorted(KEPT.glob("Aml*.json"))]


def _keep(row: Row) -> None:
    """Keep each row as it comes: a run that is interrupted loses nothing that it has seen."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{row.alert}.json").write_text(json.dumps(dataclasses.asdict(row), indent=1))


def run(scene: Scene[Any], only: set[str]) -> list[Row]:
    """Play one scene; what takes long goes on beside the rest."""
    cases = [c for c in scene.cases if not only or only & set(c.alerts)]
    lanes = [[c for c in lane if not only or only & set(c.alerts)] for lane in scene.beside]
    if not cases and not any(lanes):
        return []
    if lacking := scene.missing():
        say(f"{scene.name} is left out: {lacking}")
        return []
    began = time.monotonic()
    rows: list[Row] = []
    with scene.open() as (made, prometheus):
        say(f"{scene.name} is up after {time.monotonic() - began:.0f} s")
        beside = [
            threading.Thread(target=_played, args=(lane, made, prometheus, rows)) for lane in lanes
        ]
        for thread in beside:
            thread.start()
        _played(cases, made, prometheus, rows)
        for thread in beside:
            thread.join()
    say(f"{scene.name} is over after {time.monotonic() - began:.0f} s")
    return rows


def _played(cases: Sequence[Case[Any]], made: Any, prometheus: Prometheus, rows: list[Row]) -> None:
    for case in cases:
        found = _rows(case, made, prometheus)
        for row in found:
            times = f"fired {row.fired_s or -1:.0f} s, ended {row.resolved_s or -1:.0f} s"
            say(f"{'ok    ' if row.passed else 'FAILED'} {row.alert}: {times}; {row.fault}")
            _keep(row)
        rows += found


def _rows(case: Case[Any], made: Any, prometheus: Prometheus) -> list[Row]:
    try:
        return play(case, made, prometheus)
    except (NotInTimeError, RuntimeError, OSError) as fault:
        say(f"FAILED {', '.join(case.alerts)}: {fault}")
        return [
            Row(
                alert=name,
                fault=case.fault,
                fired_s=None,
                mended=case.mended,
                resolved_s=None,
                factor=prometheus.factor,
                load=os.getloadavg()[0],
            )
            for name in case.alerts
        ]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
