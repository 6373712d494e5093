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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import FOLDER
from relayer.local import client
from tests.operations.files import DASHBOARDS, RULES, alerts, expressions, program

pytestmark = pytest.mark.loopback
PATIENCE_S = 120.0
AML = [sys.executable, "-m", "agent.cli.main"]
# What stands for something only where it happened: a ratio of nothing, a fault, a second process.
MAY_BE_EMPTY = (
    "_faults_total",
    "_refusals_total",
    "_stream_events_total",
    "> 0",
    "forecast_",
    "_latency_",
    "aml_watcher_",
)


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


def start_daemon(state: Path) -> tuple[subprocess.Popen[str], str]:
    """Run `aml run` until it says where its metrics are."""
    config = state / "free-port.toml"
    config.write_text(re.sub(r"port = 910\d", "port = 0", (FOLDER / "local.toml").read_text()))
    log = state / "daemon.log"
    daemon = subprocess.Popen(
        [*AML, "run", "--network", str(config), "--state", str(state)],
        stderr=log.open("w"),
        stdout=subprocess.DEVNULL,
        text=True,
    )
    until(lambda: daemon.poll() is not None or "metrics at" in log.read_text(), "its metrics")
    found = re.search(r"metrics at http://(\S+)/metrics", log.read_text())
    assert found is not None, log.read_text()
    return daemon, found[1]


def start_prometheus(folder: Path, target: str) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "aml", "static_configs": [{"targets": [target]}]}],
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
    return process, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    program("prometheus")
    folder = tmp_path_factory.mktemp("scrape")
    client.start(folder / "state", speed=200.0)
    daemon, target = start_daemon(folder / "state")
    prometheus, url = start_prometheus(folder, target)
    found = Scene(daemon=daemon, url=url)
    try:
        done = 'aml_cycles_total{result="effective"} > 1'
        until(lambda: found.value(done), "two effective cycles in Prometheus")
        yield found
    finally:
        for process in (daemon, prometheus):
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=30)
        client.stop(folder / "state")


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard__every_query_answers_with_what_the_daemon_shows(
    scene: Scene, dashboard: Path
) -> None:
    asked = expressions(dashboard)
    assert asked
    for each in asked:
        if not any(part in each for part in MAY_BE_EMPTY):
            until(lambda each=each: scene.value(each), f"an answer to {each}")
        else:
            scene.value(each)  # a query that cannot be evaluated is an error


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
