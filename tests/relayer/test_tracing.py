"""Spans reach a real collector's port, and a dead collector holds up nobody."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from relayer.tracing import OtlpTracer

pytestmark = pytest.mark.loopback


class Collector(HTTPServer):
    """Takes what an OpenTelemetry collector takes on /v1/traces."""

    def __init__(self) -> None:
        self.taken: list[ExportTraceServiceRequest] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def all(self) -> list[Span]:
        """Return every span that has come."""
        return [
            span
            for request in self.taken
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def spans(self) -> dict[str, str]:
        """Return each span's name by its parent's; a root's is empty."""
        names = {span.span_id: span.name for span in self.all}
        return {span.name: names.get(span.parent_span_id, "") for span in self.all}

    @property
    def traces(self) -> dict[str, set[str]]:
        """Return the names of each trace's spans."""
        found: dict[str, set[str]] = {}
        for span in self.all:
            found.setdefault(span.trace_id.hex(), set()).add(span.name)
        return found


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans__inside_one_another__arrive_as_children(collector: Collector) -> None:
    tracer = OtlpTracer(f"http://127.0.0.1:{collector.server_port}/v1/traces", "1.2.3")
    with tracer.span("turn"), tracer.span("observe"):
        pass
    tracer.close()
    assert collector.spans == {"turn": "", "observe": "turn"}
    (resource,) = collector.taken[0].resource_spans
    said = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert said["service.version"] == "1.2.3"


def test_span__an_error_passes_through__is_recorded(collector: Collector) -> None:
    tracer = OtlpTracer(f"http://127.0.0.1:{collector.server_port}/v1/traces", "0")
    with pytest.raises(ValueError, match="bad"), tracer.span("turn"):
        raise ValueError("bad")
    tracer.close()
    (span,) = collector.taken[0].resource_spans[0].scope_spans[0].spans
    assert [event.name for event in span.events] == ["exception"]


def test_spans__no_collector__cost_the_turn_nothing() -> None:
    tracer = OtlpTracer("http://127.0.0.1:9/v1/traces", "0")
    began = time.monotonic()
    for _ in range(1_000):
        with tracer.span("turn"):
            pass
    assert time.monotonic() - began < 30  # no span waits for a connection
    tracer.close()  # gives up by itself
