"""What the daemon tells Prometheus: one prefix, base units, every label known before it happens.

Label sets are closed. Counters stand at 0 from the first scrape, so that an alert on a rate works
before the first fault; gauges at NaN until somebody has looked. An unknown label is a `KeyError`
in our tests, not a new series in production.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from relayer.errors import FAULT_REASONS
from relayer.labelled import Labelled, unknown, unknown_gauge
from relayer.market.events import Repair, StreamEvent
from relayer.market.values import QuoteRefusal
from relayer.market_metrics import MarketMetrics, VenueMetrics

CYCLE_RESULTS = ("effective", "held", "failed", "idle")
PRICE_ROUND_STATES = ("effective", "held", "superseded", "expired", "failed")
ROUND_KINDS = ("price", "risk")
DELIVERY_KINDS = (*ROUND_KINDS, "keeper", "guardian", "action")
DELIVERY_STATES = ("effective", "superseded", "expired", "failed")
STAGES = ("observe", "score", "decide", "sign", "deliver", "confirm", "price_round", "risk_cycle")
LOOPS = ("price", "risk")
LOOPBACK = "127.0.0.1"
SCHEDULER_EVENTS = ("missed", "overlapped")
MODEL_ROLES = ("champion", "challenger")
FORECAST_HORIZONS = ("900", "3600", "14400", "86400")  # seconds
# From the price path's target (5 ms) to the slowest risk cycle that still counts as one.
_LATENCY_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The closed label values that only the composition root knows."""

    hold_reasons: tuple[str, ...]
    refusal_reasons: tuple[str, ...]
    signers: tuple[str, ...]
    venues: tuple[str, ...]
    markets: tuple[str, ...]


class Metrics:
    """Every metric of the daemon, as attributes; children are cached, `inc` costs 0.5 µs."""

    def __init__(self, registry: CollectorRegistry, vocabulary: Vocabulary) -> None:
        self._registry = registry
        self._count_work(vocabulary)
        self._count_signing(vocabulary)
        self._count_faults(vocabulary)
        self.markets = MarketMetrics(registry, vocabulary.markets)
        self.venues = VenueMetrics(registry, vocabulary.venues)
        self._gauge_chain()
        self.decision_latency_seconds = Histogram(
            "aml_decision_latency_seconds",
            "From quotes in hand to a decision read back from the contract",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._measure_loop()
        self._count_outcomes()
        self.build = Info("aml_build", "Version and commit of this daemon", registry=registry)
        self.model = Info("aml_model", "Model in service, by content hash", registry=registry)
        self.config = Info("aml_config", "Network, and a hash of all settings", registry=registry)

    def _count_work(self, known: Vocabulary) -> None:
        self.cycles = Labelled(
            self._counter("cycles", "Risk cycles ended", "result"), CYCLE_RESULTS
        )
        self.holds = Labelled(
            self._counter("holds", "Markets or cycles held back", "reason"), known.hold_reasons
        )
        self.price_rounds = Labelled(
            self._counter("price_rounds", "Price rounds ended", "state"), PRICE_ROUND_STATES
        )
        self.deliveries = Labelled(
            self._counter("deliveries", "Signed messages brought to an end", "kind", "state"),
            DELIVERY_KINDS,
            DELIVERY_STATES,
        )
        self.replacements = Labelled(
            self._counter("delivery_replacements", "Transactions re-sent with higher fees", "kind"),
            DELIVERY_KINDS,
        )
        self.rollbacks = Labelled(
            self._counter(
                "delivery_rollbacks", "Effective deliveries whose block was taken back", "kind"
            ),
            DELIVERY_KINDS,
        )
        self.skipped_items = Labelled(
            self._counter("delivery_skipped_items", "Items a contract left out", "kind"),
            DELIVERY_KINDS,
        )
        self.last_success_timestamp_seconds = self._unknown(
            STAGES, "last_success_timestamp_seconds", "When a stage last ended well", "stage"
        )

    def _count_signing(self, known: Vocabulary) -> None:
        self.signer_refusals = Labelled(
            self._counter("signer_refusals", "Proposals not signed", "signer", "reason"),
            known.signers,
            known.refusal_reasons,
        )
        self.signatures = Labelled(
            self._counter("signatures", "Proposals signed", "signer"), known.signers
        )
        self.signer_last_answer_timestamp_seconds = self._unknown(
            known.signers,
            "signer_last_answer_timestamp_seconds",
            "When a signer last answered",
            "signer",
        )
        self.quorum_needed_number = self._unknown(
            ROUND_KINDS, "quorum_needed_number", "Signatures that the contract asks for", "kind"
        )
        self.quorum_disagreements = self._counter(
            "quorum_disagreements", "Proposals on which the signers did not agree"
        )

    def _count_faults(self, known: Vocabulary) -> None:
        self.venue_faults = Labelled(
            self._counter("venue_faults", "Venue calls that failed", "venue", "reason"),
            known.venues,
            FAULT_REASONS,
        )
        self.venue_exclusions = Labelled(
            self._counter(
                "venue_exclusions", "Marks that left a venue out as too far off", "venue"
            ),
            known.venues,
        )
        self.stream_events = Labelled(
            self._counter("venue_stream_events", "What became of websockets", "venue", "event"),
            known.venues,
            StreamEvent,
        )
        self.quote_refusals = Labelled(
            self._counter("venue_quote_refusals", "Answers that were no quote", "venue", "reason"),
            known.venues,
            QuoteRefusal,
        )
        self.market_data_repairs = Labelled(
            self._counter("market_data_repairs", "Data repaired or refused", "venue", "reason"),
            known.venues,
            Repair,
        )
        self.endpoint_faults = Labelled(
            self._counter("endpoint_faults", "Chain calls that failed", "reason"), FAULT_REASONS
        )

    def _count_outcomes(self) -> None:
        """What became of forecasts; two counters a model tell champion and challenger apart."""
        roles, horizons = MODEL_ROLES, FORECAST_HORIZONS
        self.forecast_outcomes = Labelled(
            self._counter("forecast_outcomes", "Forecasts that ended", "role", "horizon"),
            roles,
            horizons,
        )
        self.forecast_breaches = Labelled(
            self._counter(
                "forecast_breaches", "Ended beyond the 99 % quantile", "role", "horizon", "side"
            ),
            roles,
            horizons,
            ("long", "short"),
        )
        self.forecast_loss = Labelled(
            self._counter(
                "forecast_loss_ratio", "Sum of QLIKE over ended forecasts", "role", "horizon"
            ),
            roles,
            horizons,
        )

    def _measure_loop(self) -> None:
        """Whether the one loop that everything runs in has time for it."""
        self.loop_lag_seconds = Histogram(
            "aml_loop_lag_seconds",
            "How much later than asked the event loop woke a sleeper",
            buckets=_LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self.loop_stuck_number = Labelled(
            self._gauge("loop_stuck_number", "1: the loop ended no turn in its time", "loop"),
            LOOPS,
        )
        self.scheduler_events = Labelled(
            self._counter("scheduler_events", "Risk cycles that began late or not", "event"),
            SCHEDULER_EVENTS,
        )

    def _gauge_chain(self) -> None:
        self.onchain_round = self._unknown(
            ROUND_KINDS, "onchain_round", "Latest round in the contract", "kind"
        )
        self.chain_block_number = unknown_gauge(
            self._gauge("chain_block_number", "Block last read")
        )
        self.sender_balance_ether = unknown_gauge(
            self._gauge("sender_balance_ether", "Balance that pays gas")
        )

    def _unknown(self, values: Iterable[str], name: str, text: str, label: str) -> Labelled[Gauge]:
        return unknown(Labelled(self._gauge(name, text, label), values))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"aml_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"aml_{name}", text, labels, registry=self._registry)

    @property
    def registry(self) -> CollectorRegistry:
        """Where further metrics of the same process are declared."""
        return self._registry

    def describe_build(self, facts: Mapping[str, str]) -> None:
        """Publish version and commit."""
        self.build.info(dict(facts))

    def describe_model(self, facts: Mapping[str, str]) -> None:
        """Publish which model is in service."""
        self.model.info(dict(facts))

    def describe_config(self, facts: Mapping[str, str]) -> None:
        """Publish which network and settings are in force."""
        self.config.info(dict(facts))

    def serve(self, port: int, host: str = LOOPBACK) -> MetricsServer:
        """Serve the metrics, on this machine only unless told otherwise; port 0: a free one."""
        return serve_registry(self._registry, port, host)


def only(registry: CollectorRegistry, names: Sequence[str]) -> CollectorRegistry:
    """Show these families of a registry alone; the rest stands for what a process does not do."""
    shown = CollectorRegistry()
    shown.register(_Only(registry, frozenset(names)))
    return shown


class _Only(Collector):
    """A registry's families of some names."""

    def __init__(self, registry: CollectorRegistry, names: frozenset[str]) -> None:
        self._registry = registry
        self._names = names

    def collect(self) -> Iterable[Family]:
        """Yield them."""
        return (each for each in self._registry.collect() if each.name in self._names)


def serve_registry(registry: CollectorRegistry, port: int, host: str = LOOPBACK) -> MetricsServer:
    """Serve a registry; the library's own default would be every interface.

    When each counter was made is left out: nobody reads it, and it is a third of all samples.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it bare
    server, thread = start_http_server(port, addr=host, registry=registry)
    return MetricsServer(server, thread)


class MetricsServer:
    """The running exposition endpoint."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread

    @property
    def address(self) -> str:
        """The interface it listens on."""
        return str(self._server.server_address[0])

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop listening; returns when the port is free."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
