"""A real Prometheus with the shipped rules, whose windows are shortened by one factor."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.operations.files import RULES, program

EVERY = "2s"  # between two scrapes: a busy machine answers late, and a scrape that fails is a gap
PATIENCE_S = 600.0
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0}
_RANGE = re.compile(r"\[(\d+[smh])(?::(\d+[smh]))?\]")
_SINCE = re.compile(r"(time\(\) - \w+ [<>] )(\d+)")


class NotInTimeError(Exception):
    """What a drill waits for did not come."""


def shortened(duration: str, factor: float) -> str:
    """Write a duration of the rules, divided."""
    seconds = float(duration[:-1]) * _SECONDS[duration[-1]]
    return f"{max(1, round(seconds * 1_000 / factor))}ms"


def shortened_rules(factor: float) -> dict[str, Any]:
    """Give the shipped rules with every range, `for` and age against the wall's clock divided.

    Expressions, thresholds and labels stay as they are.
    """

    def ranged(found: re.Match[str]) -> str:
        parts = [shortened(each, factor) for each in found.groups() if each is not None]
        return f"[{':'.join(parts)}]"

    rules: dict[str, Any] = yaml.safe_load(RULES.read_text())
    for rule in (each for group in rules["groups"] for each in group["rules"]):
        expression = _RANGE.sub(ranged, rule["expr"])
        rule["expr"] = _SINCE.sub(lambda m: f"{m[1]}{float(m[2]) / factor:g}", expression)
        if "for" in rule:
            rule["for"] = shortened(rule["for"], factor)
    return rules


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(met: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> float:
    """Wait until something is so, and say how long that took."""
    began = time.monotonic()
    while True:
        try:
            if met():
                return time.monotonic() - began
        except OSError:
            pass
        if time.monotonic() - began > patience_s:
            raise NotInTimeError(f"not within {patience_s:.0f} s: {what}")
        time.sleep(0.1)


@dataclass
class Prometheus:
    """The server of a drill; `scrape` says whom it asks."""

    folder: Path
    factor: float
    port: int
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, folder: Path, factor: float) -> Prometheus:
        folder.mkdir(parents=True)
        made = cls(folder, factor, free_port())
        (folder / "rules.yml").write_text(yaml.safe_dump(shortened_rules(factor)))
        jobs = ("aml", "aml-watcher", "aml-signer", "aml-leaking")
        scrapes: list[dict[str, Any]] = [
            {
                "job_name": job,
                "file_sd_configs": [{"files": [f"{folder}/{job}.json"], "refresh_interval": "1s"}],
            }
            for job in jobs
        ]
        # It is a watcher as well, and must not stand in for the one that is missed.
        of_process = {"source_labels": ["__name__"], "regex": "process_.*", "action": "keep"}
        scrapes[-1]["metric_relabel_configs"] = [of_process]
        settings = {
            "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY}
            | {"evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "scrape_configs": scrapes,
        }
        for job in jobs:
            (folder / f"{job}.json").write_text("[]")
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        made.begin()
        return made

    def begin(self) -> None:
        """Start the process, and return when it answers."""
        self.process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stderr=(self.folder / "prometheus.log").open("ab"),
            cwd=self.folder,
        )
        until(lambda: self.firing("AmlWatchdog"), "Prometheus")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def scrape(self, job: str, ports: Sequence[int]) -> None:
        """Scrape these of a job from now on, and no others."""
        found = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
        draft = self.folder / f"{job}.tmp"
        draft.write_text(json.dumps(found))
        draft.replace(self.folder / f"{job}.json")

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, expression: str) -> list[Any]:
        return list(self.ask("query", query=expression)["result"])

    def active(self) -> list[dict[str, Any]]:
        """Give every alert that is pending or fires."""
        return list(self.ask("alerts")["alerts"])

    def firing(self, alert: str, labels: Mapping[str, str] | None = None) -> bool:
        """Tell whether an alert fires, for these labels."""
        wanted = {"alertname": alert, **(labels or {})}
        return any(
            each["state"] == "firing" and wanted.items() <= each["labels"].items()
            for each in self.active()
        )
