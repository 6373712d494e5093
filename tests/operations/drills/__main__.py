"""`python -m tests.operations.drills`: provoke every alert, and write docs/drills.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
import threading
import time
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
    asked.add_argument("--only", default="", help="alerts, separated by commas; nothing is kept")
    asked.add_argument("--write", action="store_true", help="write the page of what is kept")
    given = asked.parse_args()
    if given.write:
        return write([Row(**each) for path in _kept() for each in json.loads(path.read_text())])
    only = {each for each in given.only.split(",") if each}
    rows: list[Row] = []
    for scene in SCENES:
        if given.scene in {None, scene.name}:
            found = run(scene, only)
            rows += found
            if not only:
                KEPT.mkdir(parents=True, exist_ok=True)
                plain = [dataclasses.asdict(row) for row in found]
                (KEPT / f"{scene.name}.json").write_text(json.dumps(plain, indent=1))
    if not only and given.scene is None:
        write(rows)
    raise SystemExit(0 if all(row.passed for row in rows) else 1)


def _kept() -> list[Path]:
    return [KEPT / f"{scene.name}.json" for scene in SCENES]


def run(scene: Scene[Any], only: set[str]) -> list[Row]:
    """Play one scene; what takes long goes on beside the rest."""
    cases = [c for c in scene.cases if not only or only & set(c.alerts)]
    beside = [c for c in scene.beside if not only or only & set(c.alerts)]
    if not cases and not beside:
        return []
    began = time.monotonic()
    rows: list[Row] = []
    with scene.open() as (made, prometheus):
        say(f"{scene.name} is up after {time.monotonic() - began:.0f} s")
        long = [threading.Thread(target=_played, args=(c, made, prometheus, rows)) for c in beside]
        for thread in long:
            thread.start()
        for case in cases:
            _played(case, made, prometheus, rows)
        for thread in long:
            thread.join()
    say(f"{scene.name} is over after {time.monotonic() - began:.0f} s")
    return rows


def _played(case: Case[Any], made: Any, prometheus: Prometheus, rows: list[Row]) -> None:
    try:
        found = play(case, made, prometheus)
    except (NotInTimeError, RuntimeError, OSError) as fault:
        say(f"FAILED {', '.join(case.alerts)}: {fault}")
        found = [
            Row(
                alert=name,
                fault=case.fault,
                fired_s=None,
                mended=case.mended,
                resolved_s=None,
                factor=prometheus.factor,
            )
            for name in case.alerts
        ]
    for row in found:
        times = f"fired {row.fired_s or -1:.0f} s, ended {row.resolved_s or -1:.0f} s"
        say(f"{'ok    ' if row.passed else 'FAILED'} {row.alert}: {times}; {row.fault}")
    rows += found


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
