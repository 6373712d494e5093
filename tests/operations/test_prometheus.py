"""A real Prometheus scrapes a real daemon: dashboards get answers, and a death is noticed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import FOLDER
from relayer.local import client
from tests.operations.files import DASHBOARDS, RULES, alerts, asked, panels, program

pytestmark = pytest.mark.loopback
PATIENCE_S = 400.0  # a loaded machine
AML = [sys.executable, "-m", "agent.cli.main"]
# Panels that have nothing to show while all is well, or not yet, and why. No other may be empty.
NOTHING_FIRES, NO_FAULT, NO_POSITION = "nothing fires", "no fault", "nobody has a position"
NOT_ENDED = "no forecast has ended in the first minutes"
MAY_BE_EMPTY = {
    "Not well since": NOTHING_FIRES,
    "What fires": NOTHING_FIRES,
    "Held back, by reason": NO_FAULT,
    "Endpoint faults": NO_FAULT,
    "Refusals": NO_FAULT,
    "Venue faults": NO_FAULT,
    "Refused quotes": NO_FAULT,
    "Streams": "they opened before the first scrape, and stay open",
    "Keeper's calls": NO_POSITION,
    "What a cascade would close": NO_POSITION,
    "Liquidated over what chances said, a week": NO_POSITION,
    "Breaches of the 99 % quantile, a day": NOT_ENDED,
    "QLIKE of ended forecasts": NOT_ENDED,
    "Feature drift": NOT_ENDED,
    "Gas is paid for": "a pace takes ten minutes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A daemon and the Prometheus that scrapes it."""

    daemon: subprocess.Popen[str]
    url: str

    def ask(self, path: str, **query: str) -> Any:
        """Ask Prometheus' API."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def value(self, expression: str) -> list[Any]:
        return list(self.ask("query", query=expression)["result"])

    def known(self, expression: str) -> list[Any]:
        """Give what an expression says that is a number."""
        return [each for each in self.value(expression) if each["value"][1] != "NaN"]


def until(met: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if met():
                return
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail(f"not within {PATIENCE_S:.0f} s: {what}")


def start(state: Path, command: str, stack: ExitStack) -> tuple[subprocess.Popen[str], str]:
    """Run a process of ours until it says where its metrics are."""
    config = state / "free-port.toml"
    text = re.sub(r"port = 910\d", "port = 0", (FOLDER / "local.toml").read_text())
    spare = f'name = "local"\nspare_rpc_urls = ["{client.status(state).state.rpc_url}"]'
    text = text.replace('name = "local"', spare)
    config.write_text(text + "\n[watcher]\nport = 0\nevery_s = 1.0\n")
    log = state / f"{command}.log"
    process = subprocess.Popen(
        [*AML, command, "--network", str(config), "--state", str(state)],
        stderr=log.open("w"),
        stdout=subprocess.DEVNULL,
        text=True,
    )
    stack.callback(killed, process)
    until(lambda: process.poll() is not None or "metrics at" in log.read_text(), "its metrics")
    found = re.search(r"metrics at http://([^/\s]+)", log.read_text())
    assert found is not None, log.read_text()
    return process, found[1]


def start_prometheus(folder: Path, targets: dict[str, str], stack: ExitStack) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target]}]}
            for job, target in targets.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=(folder / "prometheus.log").open("wb"),
        cwd=folder,
    )
    stack.callback(killed, process)
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    program("prometheus")
    folder = tmp_path_factory.mktemp("scrape")
    with ExitStack() as stack:
        client.start(folder / "state", speed=60.0)
        stack.callback(client.stop, folder / "state")
        daemon, target = start(folder / "state", "run", stack)
        _, watched = start(folder / "state", "watcher", stack)
        url = start_prometheus(folder, {"aml": target, "aml-watcher": watched}, stack)
        found = Scene(daemon=daemon, url=url)
        done = 'aml_cycles_total{result="effective"} > 1'
        until(lambda: daemon.poll() is not None or found.value(done), "two effective cycles")
        assert daemon.poll() is None, (folder / "state" / "run.log").read_text()
        yield found


def killed(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(timeout=30)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard__every_panel_has_data__or_is_known_to_have_none_in_health(
    scene: Scene, dashboard: Path
) -> None:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            expression = asked(target)
            if panel["title"] in MAY_BE_EMPTY:
                found = scene.value(expression)  # what cannot be evaluated is an error
            else:
                until(lambda e=expression: scene.known(e), f"{panel['title']}: {expression}")
                found = scene.known(expression)
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            for each in found:
                assert named <= set(each["metric"]), (panel["title"], each["metric"])


def test_panels_that_may_be_empty__all_exist() -> None:
    titles = {panel["title"] for dashboard in DASHBOARDS for panel in panels(dashboard)}
    assert set(MAY_BE_EMPTY) - titles == set()


def test_rules__prometheus_evaluates_each_without_an_error(scene: Scene) -> None:
    until(lambda: scene.value('ALERTS{alertname="AmlWatchdog"}'), "a first evaluation")
    rules = [rule for group in scene.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in alerts()}
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []


def test_rules__while_all_is_well__only_the_watchdog_fires(scene: Scene) -> None:
    paged = [
        alert["labels"]["alertname"]
        for alert in scene.ask("alerts")["alerts"]
        if alert["state"] == "firing" and alert["labels"]["severity"] == "page"
    ]
    assert paged == []


def test_rules__the_daemon_is_killed__down_is_pending_and_says_who(scene: Scene) -> None:
    os.kill(scene.daemon.pid, signal.SIGKILL)
    pending = 'ALERTS{alertname="AmlDown",alertstate=~"pending|firing"}'
    until(lambda: scene.value(pending), "AmlDown")
    said = [
        alert["annotations"]["summary"]
        for alert in scene.ask("alerts")["alerts"]
        if alert["labels"]["alertname"] == "AmlDown"
    ]
    assert len(said) == 1
    assert said[0].startswith("aml at 127.0.0.1:")
    assert "error expanding" not in said[0]
