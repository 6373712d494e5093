"""Market data's events as metrics."""

from __future__ import annotations

from relayer.market.events import Repair, StreamEvent
from relayer.market.values import QuoteRefusal
from relayer.metrics import Metrics


class Counted:
    """Counts by venue and reason."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def stream(self, venue: str, event: StreamEvent) -> None:
        """Count what became of a websocket."""
        self._metrics.stream_events[venue, event.value].inc()

    def repaired(self, venue: str, repair: Repair) -> None:
        """Count a repair or refusal."""
        self._metrics.market_data_repairs[venue, repair.value].inc()

    def refused(self, venue: str, reason: QuoteRefusal) -> None:
        """Count an answer that was no quote."""
        self._metrics.quote_refusals[venue, reason.value].inc()
