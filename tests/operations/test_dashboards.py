"""Dashboards as Grafana's provisioning needs them, with the thresholds of the rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operations.files import CONFIG, DASHBOARDS, alerts, panels

SOURCE = {"type": "prometheus", "uid": "aml-prometheus"}
KINDS = {"stat", "table", "timeseries"}
UNITS = {"bytes", "cpm", "dateTimeFromNow", "none", "percentunit", "s", "short"}
WIDTH = 24
_LIMIT = re.compile(r"(aml_\w+) [<>] ([\d.]+)(?: \* (\d+))?")


def document(dashboard: Path) -> dict[str, Any]:
    return dict(json.loads(dashboard.read_text()))


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard__is_what_provisioning_takes(dashboard: Path) -> None:
    found = document(dashboard)
    assert found["uid"] == dashboard.stem
    assert found.get("id") is None  # Grafana gives it; one from another house would collide
    assert found["title"]
    assert found["schemaVersion"] >= 36
    for variable in found["templating"]["list"]:
        assert variable["datasource"] == SOURCE
        assert (variable["includeAll"], variable["allValue"]) == (True, ".*")
    numbers = [panel["id"] for panel in found["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_panels__fill_the_page_and_none_covers_another(dashboard: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(dashboard):
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(x for x, _ in taken) == WIDTH - 1
    assert len(taken) == WIDTH * (max(y for _, y in taken) + 1)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_panel__source_unit_and_legend(dashboard: Path) -> None:
    for panel in panels(dashboard):
        title, unit = panel["title"], panel["fieldConfig"]["defaults"]["unit"]
        assert panel["type"] in KINDS, title
        assert panel["datasource"] == SOURCE, title
        assert unit in UNITS or unit.startswith("suffix:"), title
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names) > 0, title
        for target in panel["targets"]:
            assert target["datasource"] == SOURCE, title
            assert target["legendFormat"], title
            is_table = (target.get("format"), target.get("instant")) == ("table", True)
            assert is_table == (panel["type"] == "table"), title


def test_provisioning__files_are_found_and_ask_the_source_that_is_there() -> None:
    sources = yaml.safe_load(
        (CONFIG / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    assert [each["uid"] for each in sources["datasources"]] == [SOURCE["uid"]]
    boards = yaml.safe_load((CONFIG / "grafana/provisioning/dashboards/aml.yaml").read_text())
    (provider,) = boards["providers"]
    mounted = (CONFIG.parent / "compose.yaml").read_text()
    assert f"./config/grafana/dashboards:{provider['options']['path']}:ro" in mounted
    assert "./config/grafana/provisioning:/etc/grafana/provisioning:ro" in mounted


def limits() -> dict[str, set[float]]:
    """Return what each metric is held against in the rules that hold one against a number."""
    found: dict[str, set[float]] = {}
    for rule in alerts():
        for name, least, times in _LIMIT.findall(str(rule["expr"])):
            found.setdefault(name, set()).add(float(least) * float(times or 1))
    return found


def test_thresholds__of_a_panel__are_where_its_alert_fires() -> None:
    held, compared = limits(), 0
    for panel in (panel for dashboard in DASHBOARDS for panel in panels(dashboard)):
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {"steps": []})["steps"]
        shown = {step["value"] for step in steps} - {None}
        metrics = {
            name
            for target in panel["targets"]
            for name in re.findall(r"aml_[a-z_]+", target["expr"])
            if not name.endswith(("_total", "_bucket"))
        }
        for name in metrics & set(held) if shown else ():
            fires = {1.0 if value == 0 else value for value in held[name]}
            assert shown & fires, (panel["title"], name, shown, fires)
            compared += 1
    assert compared >= 10


def test_overview__first_thing_seen__is_whether_all_is_well_and_since_when_not() -> None:
    (overview,) = (each for each in DASHBOARDS if each.stem == "aml-overview")
    first, second = panels(overview)[:2]
    assert (first["title"], second["title"]) == ("All is well", "Not well since")
    assert "AmlWatchdog" in first["targets"][0]["expr"]  # no rules at all are not well
