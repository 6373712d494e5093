"""Lead times on made-up candles: alarms, ends, and what counts as early or as false."""

from __future__ import annotations

import pytest

from agent.positions.levels import Level, WarnSettings
from benchmarks import crises
from benchmarks.crises_floor import Record
from benchmarks.crises_run import Play
from benchmarks.lead_times import Alarm, End, Watcher, figures, watched


def watcher() -> Watcher:
    return Watcher(
        settings=WarnSettings(), start_ms=0, every_minutes=60, scored=[], record=Record()
    )


def test_figures__levels__say_early_late_and_false() -> None:
    found = watcher()
    found.ends = [
        End(row=1, held_since=0, minute=200, leads={Level.NOTICE: 120, Level.WARNING: 10}),
        End(row=2, held_since=190, minute=200, leads={Level.NOTICE: 5}),
    ]
    found.alarms = [
        Alarm(level=Level.NOTICE, row=1, held_since=0, minute=80),
        Alarm(level=Level.NOTICE, row=3, held_since=0, minute=90),
        Alarm(level=Level.NOTICE, row=3, held_since=0, minute=5_000),  # its day is not over
    ]
    found.position_minutes = 2 * 1_440
    notice = figures(found, 60, 6_000)["levels"]["notice"]
    assert notice["flagged_30_min_ahead"] == 0.5
    assert notice["flagged_30_min_ahead_of_held"] == 1.0
    assert notice["median_lead_min"] == pytest.approx(62.5)
    assert (notice["alarms_judged"], notice["false_alarms"]) == (2.0, 0.5)
    assert notice["alarms_a_position_day"] == 1.5


def test_figures__warm_up__is_left_out() -> None:
    found = watcher()
    found.ends = [End(row=1, held_since=0, minute=50, leads={})]
    assert figures(found, 60, 6_000)["liquidated"] == 0


def test_watched__a_crash__flags_positions_before_they_are_liquidated() -> None:
    class Options:
        quick, accounts, every, model = True, 30, 60, None

    ground = crises._ground(Options())  # type: ignore[arg-type]
    play = Play(ground, crises.QUICK, crises.made_up(crises.QUICK), 1)
    found = watched(ground, play, WarnSettings(), ground.model.risks)
    assert found["liquidated"] > 0
    notice, critical = found["levels"]["notice"], found["levels"]["critical"]
    assert notice["flagged_at_all"] >= critical["flagged_at_all"]
    assert notice["alarms_a_position_day"] > 0
