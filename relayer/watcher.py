"""The watcher: an independent look at how old what the contracts hold is, so that none can hide it.

It reads and never writes, holds no key, shares no memory with a daemon, and should have an endpoint
of its own. Ages are of the moment of the scrape: they go on growing when it can read no more. What
it has never read is NaN; what a contract never accepted is infinitely old.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import ChainState, read_chain
from relayer.chain.values import Deployment
from relayer.errors import HoldCycle, Retry
from relayer.labelled import Labelled, unknown

MS: Final = 1_000
RESULTS: Final = ("read", "failed")
KINDS: Final = ("price", "risk")
UNKNOWN_S: Final = math.nan
NEVER_S: Final = -math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What one market's slots say about time, in Unix seconds; NEVER_S: nothing was accepted."""

    priced_s: float
    decided_s: float
    expires_s: float


class WatcherMetrics:
    """The watcher's own metrics, under the house's prefix; `now_s` is asked at each scrape."""

    def __init__(
        self, registry: CollectorRegistry, markets: tuple[str, ...], now_s: Callable[[], float]
    ) -> None:
        self._now_s = now_s
        self._read_s = UNKNOWN_S
        self._block_s = UNKNOWN_S
        unread = Times(priced_s=UNKNOWN_S, decided_s=UNKNOWN_S, expires_s=UNKNOWN_S)
        self._times = dict.fromkeys(markets, unread)
        self.reads = Labelled(
            Counter("aml_watcher_reads", "Looks at the contracts", ["result"], registry=registry),
            RESULTS,
        )
        rounds = Gauge(
            "aml_watcher_round_number", "Last round of a contract", ["kind"], registry=registry
        )
        self.rounds = unknown(Labelled(rounds, KINDS))
        self._since_read(registry)
        self._of_markets(registry, markets)

    def _since_read(self, registry: CollectorRegistry) -> None:
        gauge = Gauge(
            "aml_watcher_read_age_seconds",
            "Since the contracts were last read; before that, since it was first tried",
            registry=registry,
        )
        gauge.set_function(lambda: self._now_s() - self._read_s)
        gauge = Gauge(
            "aml_watcher_block_age_seconds", "Since the latest block's own time", registry=registry
        )
        gauge.set_function(lambda: self._now_s() - self._block_s)

    def _of_markets(self, registry: CollectorRegistry, markets: tuple[str, ...]) -> None:
        priced = Gauge(
            "aml_watcher_price_age_seconds",
            "Since the observation of the price that the contract holds",
            ["market"],
            registry=registry,
        )
        decided = Gauge(
            "aml_watcher_parameters_age_seconds",
            "Since the observation of the parameters that the contract holds",
            ["market"],
            registry=registry,
        )
        left = Gauge(
            "aml_watcher_parameters_left_seconds",
            "Until the contract takes no new risk with these parameters; negative: since then",
            ["market"],
            registry=registry,
        )
        for market in markets:
            priced.labels(market).set_function(self._asked(market, "priced_s", 1))
            decided.labels(market).set_function(self._asked(market, "decided_s", 1))
            left.labels(market).set_function(self._asked(market, "expires_s", -1))

    def _asked(self, market: str, name: str, sign: int) -> Callable[[], float]:
        """Give what a scrape asks: time since, or time until."""
        return lambda: sign * (self._now_s() - float(getattr(self._times[market], name)))

    def begin(self) -> None:
        """Count from the first look on, so that a watcher that never read anything is blind too."""
        if math.isnan(self._read_s):
            self._read_s = self._now_s()

    def take(self, state: ChainState, deployment: Deployment) -> None:
        """Remember what the contracts say."""
        self._read_s = round(self._now_s())
        self._block_s = state.timestamp_s
        self.rounds["price"].set(state.feed.latest_round)
        self.rounds["risk"].set(state.oracle.latest_round)
        for listed in deployment.markets:
            price = state.feed.markets[listed.market]
            parameters = state.oracle.markets[listed.market]
            decided_s = parameters.observed_at_ms / MS if parameters.validity_s else NEVER_S
            self._times[listed.symbol] = Times(
                priced_s=price.observed_at_ms / MS if price.has_price else NEVER_S,
                decided_s=decided_s,
                expires_s=decided_s + parameters.validity_s,
            )


class Watcher:
    """Looks again and again, whatever happens to the endpoint."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[ChainEndpoint]],
        deployment: Deployment,
        metrics: WatcherMetrics,
    ) -> None:
        self._connect = connect
        self._deployment = deployment
        self._metrics = metrics
        self._endpoint: ChainEndpoint | None = None
        self._log = structlog.get_logger("aml")
        self._failing = False

    async def look(self) -> bool:
        """Read once; a fault that passes is counted, and said when it begins and when it ends."""
        self._metrics.begin()
        try:
            if self._endpoint is None:
                self._endpoint = await self._connect()
            state = await read_chain(self._endpoint, self._deployment)
        except (Retry, HoldCycle) as fault:
            self._metrics.reads["failed"].inc()
            if not self._failing:
                self._log.warning("watcher_blind", detail=f"{type(fault).__name__}: {fault}")
            self._failing = True
            return False
        self._metrics.take(state, self._deployment)
        self._metrics.reads["read"].inc()
        if self._failing:
            self._log.info("watcher_sees_again", block=state.block_number)
        self._failing = False
        return True

    async def close(self) -> None:
        """Let go of the endpoint."""
        if self._endpoint is not None:
            await self._endpoint.close()
