"""Where alerts and dashboards are, and which metrics they name."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = Path(__file__).resolve().parent.parent.parent / "config"
RULES = CONFIG / "alerts" / "aml.rules.yml"
RULE_TESTS = CONFIG / "alerts" / "aml.test.yml"
DASHBOARDS = sorted((CONFIG / "grafana" / "dashboards").glob("*.json"))
_METRIC = re.compile(r"\b(?:aml|process)_[a-z_]+")


def program(name: str) -> str:
    """Find one of Prometheus' programs; without it skip, or fail where everything is required."""
    found = shutil.which(name)
    if found is not None:
        return found
    reason = f"{name} is not installed: apt-get install prometheus"
    if os.environ.get("AML_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def alerts() -> list[dict[str, Any]]:
    """Return every rule of every group."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """Return a dashboard's panels."""
    return list(json.loads(dashboard.read_text())["panels"])


def asked(target: dict[str, str]) -> str:
    """Return what a panel asks, with every variable set to all."""
    return re.sub(r"\$(instance|market)", ".*", target["expr"])


def expressions(dashboard: Path) -> list[str]:
    """Return all that a dashboard asks."""
    return [asked(target) for panel in panels(dashboard) for target in panel["targets"]]


def metrics_in(expression: str) -> set[str]:
    """Return the metrics that an expression names; words inside quotes are none."""
    return set(_METRIC.findall(re.sub(r'"[^"]*"', '""', expression)))
