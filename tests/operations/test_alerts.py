"""Alerts: their syntax, their cases, their runbooks, and that the code declares what they read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.operations.declared import registry
from tests.operations.files import (
    DASHBOARDS,
    RULE_TESTS,
    RULES,
    alerts,
    expressions,
    metrics_in,
    program,
)

RUNBOOKS = RULES.parent.parent.parent / "docs" / "runbooks.md"
NAMES = [rule["alert"] for rule in alerts()]


def declared() -> set[str]:
    """Return every sample that the code declares."""
    return {sample.name for family in registry().collect() for sample in family.samples}


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules__are_valid() -> None:
    promtool("check", "rules", RULES)


def test_rules__each_fires_and_stays_quiet() -> None:
    promtool("test", "rules", RULE_TESTS)


def test_rules__each_has_both_cases() -> None:
    cases = {case["name"]: case for case in yaml.safe_load(RULE_TESTS.read_text())["tests"]}
    for name in set(NAMES) - {"AmlWatchdog"}:
        asked = cases[name]["promql_expr_test"]
        assert [bool(each["exp_samples"]) for each in asked] == [False, True], name
        assert all(f'alertname="{name}"' in each["expr"] for each in asked), name


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_rule__has_severity_summary_and_a_runbook_that_exists(
    rule: dict[str, dict[str, str]],
) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket", "none"}
    assert rule["annotations"]["summary"]
    name = str(rule["alert"])
    assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{name.lower()}"
    section = RUNBOOKS.read_text().split(f"\n## {name}\n", 1)
    assert len(section) == 2, f"docs/runbooks.md has no section {name}"
    body = section[1].split("\n## ", 1)[0]
    for part in ("**Means**", "**Look**", "**Mend**"):
        assert part in body, (name, part)


def test_runbooks__none_is_of_an_alert_that_does_not_exist() -> None:
    assert sorted(re.findall(r"^## (Aml\w+)$", RUNBOOKS.read_text(), re.MULTILINE)) == sorted(NAMES)


def test_rules_and_dashboards__every_metric_is_declared_by_the_code() -> None:
    asked = [str(rule["expr"]) for rule in alerts()]
    asked += [each for dashboard in DASHBOARDS for each in expressions(dashboard)]
    named = set().union(*(metrics_in(each) for each in asked))
    assert len(named) > 40
    assert named - declared() == set()
