"""Every alert has a drill or a reason, the page shows what came of it, and one drill runs here."""

from __future__ import annotations

import re

import pytest

from tests.operations.drills import money
from tests.operations.drills.catalogue import NOT_DRILLED, UNFINISHED, drilled, labels
from tests.operations.drills.report import PAGE
from tests.operations.drills.script import play
from tests.operations.drills.server import shortened_rules
from tests.operations.files import alerts, program

NAMES = {rule["alert"] for rule in alerts()}


def test_catalogue__every_alert_is_drilled_or_says_why_not() -> None:
    assert drilled().keys() | NOT_DRILLED.keys() == NAMES
    assert drilled().keys() & NOT_DRILLED.keys() == set()


def test_catalogue__no_drill_waits_for_a_label_that_its_alert_never_has() -> None:
    rules = {rule["alert"]: rule["expr"] for rule in alerts()}
    for name, wanted in labels().items():
        for kept in re.findall(r"\bby \(([^)]*)\)", rules[name]):
            assert wanted.keys() <= set(kept.replace(" ", "").split(",")), name


def test_catalogue__few_are_not_drilled() -> None:
    assert len(NOT_DRILLED) <= 2
    assert drilled().keys() >= UNFINISHED.keys()


@pytest.mark.skipif(not PAGE.exists(), reason="docs/drills.md is not written yet: make drills")
def test_page__shows_each_drilled_alert_firing_and_ending() -> None:
    line = re.compile(r"^\| (Aml\w+) \| .* \| (\S.*?) \| .* \| (\S.*?) \| [\d.]+ \|$", re.MULTILINE)
    rows = line.findall(PAGE.read_text())
    assert {name for name, _, _ in rows} == drilled().keys() - UNFINISHED.keys()
    assert [name for name, fires, ends in rows if "did not" in (fires, ends)] == []


def test_shortened_rules__only_ranges_and_for_differ() -> None:
    shipped = {rule["alert"]: rule for rule in alerts()}
    short = [rule for group in shortened_rules(60.0)["groups"] for rule in group["rules"]]
    assert [rule["alert"] for rule in short] == list(shipped)
    duration = re.compile(r"\[[^\]]*\]|\b\d+(?:\.\d+)?(?:ms|[smh])\b|(?<=_seconds [<>] )\d+")
    for rule in short:
        whole = shipped[rule["alert"]]
        assert rule.get("labels") == whole.get("labels")
        assert duration.sub("", rule["expr"]) == duration.sub("", whole["expr"])
        assert ("for" in rule) == ("for" in whole)


@pytest.mark.long
@pytest.mark.loopback
def test_drill__an_event_is_lost__totals_alarm_until_the_index_is_built_anew() -> None:
    """The one that guards money; the others: `make drills`."""
    program("prometheus")
    with money.SCENE.open() as (stand, prometheus):
        rows = play(money.CASES[0], stand, prometheus)
    assert {row.alert for row in rows} == {"AmlTotalsDiffer", "AmlTotalsHarmful"}
    assert all(row.passed for row in rows), rows
