"""What a scrape costs a daemon: `python -m benchmarks.scrape [--markets 200] [--json OUT]`.

First a daemon as `aml run` starts it on the local world, six markets, asked over HTTP; processor
time is the kernel's, of the daemon alone. Then a registry of so many markets, which a price tick
and a risk cycle of the latency benchmark's world have filled by the daemon's own code, asked alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from agent.cycle import risk_cycle
from agent.decisions import HoldReason
from agent.positions.build import vocabulary
from agent.prices import price_tick
from agent.telemetry import Telemetry
from benchmarks import latency_world, soak
from relayer.chain.standing import EndpointMetrics
from relayer.chance_metrics import ChanceMetrics
from relayer.delivery.runway import RunwayMetrics
from relayer.lease import LeaseMetrics
from relayer.local import client
from relayer.market.jumps import JumpWatch
from relayer.metrics import Metrics, Vocabulary
from relayer.position_metrics import PositionMetrics
from relayer.signing.values import RefusalReason

TIMES = 50
SIGNERS = tuple(f"{kind}-{n}" for kind in ("price", "risk") for n in (1, 2, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One scrape: what comes, and what it takes."""

    markets: int
    samples: int
    kilobytes: float
    cpu_ms: float


def scraped(url: str, markets: int, cpu_s: Callable[[], float]) -> Cost:
    """Ask so many times, and share the processor time among them."""
    text, before = asked(url), cpu_s()
    for _ in range(TIMES):
        text = asked(url)
    took_s = cpu_s() - before
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return Cost(
        markets=markets,
        samples=len(lines),
        kilobytes=len(text.encode()) / 1_000,
        cpu_ms=took_s * 1_000 / TIMES,
    )


def asked(url: str) -> str:
    """Scrape once."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def running(folder: Path) -> Cost:
    """Measure a daemon on the local world; what it does beside answering is taken off."""
    world = client.start(folder, speed=1.0)
    log = folder / "daemon.log"
    daemon = soak.start(folder, log)
    try:
        url = soak.metrics_of(daemon, log)
        while "kind='risk' result='effective'" not in log.read_text():
            time.sleep(0.5)
        idle = _idle_share(daemon.pid)
        began = time.monotonic()
        found = scraped(url, len(world.markets), lambda: _spent_s(daemon.pid))
        own_ms = idle * (time.monotonic() - began) * 1_000 / (TIMES + 1)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=120)
        client.stop(folder)
    return Cost(**asdict(found) | {"cpu_ms": max(0.0, found.cpu_ms - own_ms)})


def _spent_s(pid: int) -> float:
    words = re.sub(r".*\) ", "", Path(f"/proc/{pid}/stat").read_text()).split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _idle_share(pid: int) -> float:
    """Give the share of a core that the daemon takes while nobody asks."""
    before, began = _spent_s(pid), time.monotonic()
    time.sleep(20.0)
    return (_spent_s(pid) - before) / (time.monotonic() - began)


async def filled(markets: int, folder: Path) -> Metrics:
    """Declare what a daemon does, and let a tick and a cycle fill it."""
    symbols = tuple(f"M{n}" for n in range(markets))
    metrics = Metrics(
        CollectorRegistry(),
        Vocabulary(
            hold_reasons=tuple(HoldReason),
            refusal_reasons=tuple(RefusalReason),
            signers=SIGNERS,
            venues=latency_world.VENUES,
            markets=symbols,
        ),
    )
    registry = metrics.registry
    ProcessCollector(registry=registry)
    PositionMetrics(registry, vocabulary())
    for declare in (ChanceMetrics, LeaseMetrics, RunwayMetrics):
        declare(registry)
    EndpointMetrics(registry, ["1", "2"])
    telemetry = Telemetry(metrics, symbols)
    bench = await latency_world.build(markets, folder)
    settings = bench.settings
    bench.views.marks = latency_world.own_marks(bench.world.quote_round)
    telemetry.tick(await price_tick(bench.hands, settings.marks, settings.prices, JumpWatch()))
    telemetry.cycle(await risk_cycle(bench.hands, bench.mind, JumpWatch()))
    await bench.close()
    return metrics


def many(markets: int, folder: Path) -> Cost:
    """Measure a registry of many markets in this process, over HTTP; what asking takes is in it."""
    metrics = asyncio.run(filled(markets, folder))
    server = metrics.serve(0)
    try:
        return scraped(f"http://127.0.0.1:{server.port}/metrics", markets, time.process_time)
    finally:
        server.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markets", type=int, default=200)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    found = []
    for measure in (running, lambda folder: many(chosen.markets, folder)):
        with tempfile.TemporaryDirectory(prefix="aml-scrape-") as folder:
            found.append(measure(Path(folder)))
            print(found[-1])
    print(f"load {os.getloadavg()[0]:.1f}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


if __name__ == "__main__":
    main()
