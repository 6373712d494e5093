"""Facts about what the log hears of features that have left training, while the week goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.learning import Track
from models.artifact import default_artifact, load
from models.drift import LEAST_HOURS, Reference, Week
from models.live import Terms
from models.promises import NOTHING_LEARNED

NAMES = ("hours_a", "hours_b", "minutes_c")
ONE = np.ones(len(NAMES))
REFERENCE = Reference(names=NAMES, centre=np.zeros(len(NAMES)), scale=ONE, level=ONE)


def week_at(means: dict[str, float], hours: int = LEAST_HOURS) -> Week:
    sums = {name: hours * mean for name, mean in means.items()}
    return Week(number=1, hour=hours, hours=hours, sums=sums, counts=dict.fromkeys(means, hours))


@pytest.fixture
def track() -> Track:
    terms = Terms(markets=2, reference=REFERENCE)
    return Track(load(default_artifact()), NOTHING_LEARNED, [], terms)


def see(track: Track, **means: float) -> str | None:
    track.watch = replace(track.watch, week=week_at(means))
    return track.strays()


def test_strays__a_feature_far_from_training__is_named_once(track: Track) -> None:
    assert see(track, hours_a=0.5) is None
    assert see(track, hours_a=2.5) == "hours_a (2.5 times the level)"
    assert see(track, hours_a=2.6) is None


def test_strays__another_joins__all_are_named_the_furthest_first(track: Track) -> None:
    see(track, hours_a=2.0)
    said = see(track, hours_a=2.0, hours_b=-3.0)
    assert said == "hours_b (3.0 times the level), hours_a (2.0 times the level)"


def test_strays__back_and_away_again__is_named_again(track: Track) -> None:
    see(track, minutes_c=1.5)
    assert see(track, minutes_c=0.5) is None
    assert see(track, minutes_c=1.5) is not None


def test_strays__a_short_week_or_no_reference__says_nothing(track: Track) -> None:
    track.watch = replace(track.watch, week=week_at({"hours_a": 9.0}, hours=LEAST_HOURS - 1))
    assert track.strays() is None
    track.terms = Terms(markets=2)
    assert see(track, hours_a=9.0) is None
