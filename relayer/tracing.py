"""Spans of a turn, sent to an OpenTelemetry collector; the extra `tracing` brings the library."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from relayer.errors import Misconfigured

TIMEOUT_S = 2.0  # for one batch, its retries included; what is not taken by then is lost


class Tracer(Protocol):
    """Takes the time of what happens inside a span; spans inside spans are its children."""

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Open a span; an error that passes through it is recorded with it."""
        ...

    def trace_id(self) -> str:
        """Name the trace of the span that is open here, as a collector shows it."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class OtlpTracer:
    """Sends spans in batches, on a thread of its own: a slow or dead collector holds up nobody."""

    def __init__(self, url: str, version: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.trace import get_current_span  # noqa: PLC0415
        except ImportError:
            raise Misconfigured(
                "[tracing] needs the extra: pip install 'autonomous-margin-layer[tracing]'"
            ) from None
        resource = Resource.create({"service.name": "aml", "service.version": version})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_S))
        )
        self._tracer = self._provider.get_tracer("aml")
        self._current = get_current_span

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Open a span below the one that is open here."""
        return self._tracer.start_as_current_span(name)

    def trace_id(self) -> str:
        """Name the trace that is open here."""
        return f"{self._current().get_span_context().trace_id:032x}"

    def close(self) -> None:
        """Send what is left, and stop the thread."""
        self._provider.shutdown()
