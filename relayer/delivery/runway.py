"""How long what is left will pay for gas, by what was spent of late."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

WEI_PER_ETHER: Final = 10**18
WINDOW_S: Final = 86_400.0  # quiet nights and busy days weigh alike
LEAST_SPAN_S: Final = 600.0  # a single update is no pace


class Runway:
    """Balances as they were seen, newest last; what came in is no spending."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, at_s: float, balance_wei: int) -> float | None:
        """Note a balance; give the seconds that it will last, None before there is a pace."""
        self._seen.append((at_s, balance_wei))
        while self._seen[0][0] < at_s - self._window_s:
            self._seen.popleft()
        span_s = at_s - self._seen[0][0]
        if span_s < LEAST_SPAN_S:
            return None
        balances = [balance for _, balance in self._seen]
        steps = pairwise(balances)
        spent_wei = sum(max(0, before - after) for before, after in steps)
        return balance_wei * span_s / spent_wei if spent_wei else math.inf


class RunwayMetrics:
    """What Prometheus hears of the account that pays."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Gauge(
            "aml_sender_runway_seconds",
            "How long the balance lasts at the pace of the last day; NaN before there is one",
            registry=registry,
        )
        self.seconds.set(math.nan)
