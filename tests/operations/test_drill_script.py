"""Facts about how a drill tells that alerts fire and have ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.operations.drills.script import Clocked
from tests.operations.drills.server import Prometheus

PATIENCE_S = 1.0
BOTH: dict[str, dict[str, str]] = {"AmlDown": {"job": "aml"}, "AmlAbsent": {}}
Answer = list[dict[str, Any]] | OSError


@dataclass
class Scripted(Prometheus):
    """Answers in turn; the last answer goes on."""

    answers: Iterator[Answer] | None = None
    last: Answer | None = None

    def active(self) -> list[dict[str, Any]]:
        assert self.answers is not None
        self.last = next(self.answers, self.last)
        if isinstance(self.last, OSError):
            raise self.last
        assert self.last is not None
        return self.last


def alert(name: str, *, state: str = "firing", **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, **labels}, "state": state}


def clocked(*answers: Answer, silence_ends: bool = False) -> Clocked:
    said = Scripted(folder=None, factor=1.0, port=0, answers=iter(answers))  # type: ignore[arg-type]
    return Clocked(said, BOTH, silence_ends)


DOWN, ABSENT = alert("AmlDown", job="aml"), alert("AmlAbsent")


def test_firing__both_at_once__is_both() -> None:
    asked = clocked([DOWN], [DOWN, ABSENT])
    asked.wait_until_firing(time.monotonic(), PATIENCE_S)
    assert asked.at_s.keys() == BOTH.keys()
    assert asked.at_s["AmlDown"] < asked.at_s["AmlAbsent"]


def test_firing__one_had_ceased_when_the_other_came__is_left_out() -> None:
    asked = clocked([DOWN], [ABSENT])
    asked.wait_until_firing(time.monotonic(), PATIENCE_S)
    assert asked.at_s.keys() == {"AmlAbsent"}


def test_firing__pending_or_of_another_job__is_none() -> None:
    asked = clocked([alert("AmlDown", job="aml-signer"), alert("AmlAbsent", state="pending")])
    asked.wait_until_firing(time.monotonic(), PATIENCE_S)
    assert asked.at_s == {}


def test_ended__nobody_answers__is_no_end() -> None:
    asked = clocked(OSError("refused"))
    asked.wait_until_ended(time.monotonic(), PATIENCE_S)
    assert asked.at_s == {}


def test_ended__nobody_answers_and_that_is_what_is_waited_for__is_the_end() -> None:
    asked = clocked(OSError("refused"), silence_ends=True)
    asked.wait_until_ended(time.monotonic(), PATIENCE_S)
    assert asked.at_s.keys() == BOTH.keys()


def test_ended__comes_again__is_clocked_anew() -> None:
    asked = clocked([], [DOWN], [])
    asked.wait_until_ended(time.monotonic(), PATIENCE_S)
    assert asked.at_s["AmlDown"] > asked.at_s["AmlAbsent"]
