"""What a health check makes of an answer, and of none."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Gauge

from relayer.health import ask, judged
from relayer.metrics import serve_registry
from tests.relayer import builders as b

pytestmark = pytest.mark.loopback


def test_health__process_with_moving_loops__is_well() -> None:
    server = b.metrics().serve(0)
    try:
        answer = ask("127.0.0.1", server.port, 30.0)
    finally:
        server.close()
    assert answer.well, answer.said


def test_health__stuck_loop__is_named() -> None:
    metrics = b.metrics()
    metrics.loop_stuck_number["risk"].set_function(lambda: 1.0)
    server = metrics.serve(0)
    try:
        answer = ask("127.0.0.1", server.port, 30.0)
    finally:
        server.close()
    assert (answer.well, answer.said) == (False, "stuck: risk")


def test_health__nobody_there__is_not_well() -> None:
    server = serve_registry(CollectorRegistry(), 0)
    port = server.port
    server.close()
    answer = ask("127.0.0.1", port, 30.0)
    assert not answer.well
    assert "does not answer" in answer.said


def test_health__somebody_elses_metrics__are_not_ours() -> None:
    registry = CollectorRegistry()
    Gauge("other", "Of another program", registry=registry)
    server = serve_registry(registry, 0)
    try:
        assert not ask("127.0.0.1", server.port, 30.0).well
    finally:
        server.close()
    assert not judged(500, "aml_build_info 1").well
