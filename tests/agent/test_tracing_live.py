"""A daemon's turns reach a collector over HTTP, and the log names the trace of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent import app
from agent.cli.session import configure_logging
from agent.config import TracingSettings, load_settings
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.network import local_network
from relayer.local import client
from relayer.market.jumps import JumpWatch
from tests.relayer.test_tracing import Collector, collector

pytestmark = [pytest.mark.loopback, pytest.mark.long]
__all__ = ["collector"]


async def test_cycle__traced__arrives_as_one_trace_whose_id_is_in_the_log(
    tmp_path: Path, collector: Collector, capfd: pytest.CaptureFixture[str]
) -> None:
    world = client.start(tmp_path, speed=1.0)
    url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    settings = load_settings("local")
    changed = {
        "metrics": settings.metrics.model_copy(update={"port": 0}),
        "http": None,
        "tracing": TracingSettings(otlp_url=url),
    }
    settings = settings.model_copy(update=changed)
    network = local_network(world, tmp_path)
    try:
        await deploy_network(network, settings, lambda _: None)
        configure_logging()
        async with app.daemon(network, settings, app.load_model(settings)) as running:
            seen = [JumpWatch(rules=settings.jumps)]
            stage = Stage(world=world, daemon=running, settings=settings, say=print, seen=seen)
            await stage.tick()
            await stage.cycle()
    finally:
        client.stop(tmp_path)
    lines = [line for line in capfd.readouterr().err.splitlines() if "turn_ended" in line]
    named = {
        kind: found[1]
        for line in lines
        for kind in ("price", "risk")
        if f"kind='{kind}'" in line
        and (found := re.search(r"trace_id='([0-9a-f]{32})'", line)) is not None
    }
    assert set(named) == {"price", "risk"}
    traces = collector.traces
    assert {"turn", "observe", "collect_signatures", "keep_evidence", "deliver"} <= traces[
        named["risk"]
    ]
    assert {"turn", "read_feed", "ask_venues", "deliver"} <= traces[named["price"]]
