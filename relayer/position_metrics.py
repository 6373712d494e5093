"""What Prometheus hears of positions: the index, the watch, the keeper, the totals, warnings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from relayer.labelled import Labelled, unknown, unknown_gauge

HORIZONS = ("15m", "1h", "4h", "24h")
CHANCES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95)
CASCADES = ("paced", "unpaced")
CALL_RESULTS = ("effective", "deferred", "superseded", "expired", "failed")
_WATCH_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionVocabulary:
    """The closed label values that only the agent knows."""

    tasks: tuple[str, ...]
    sums: tuple[str, ...]
    levels: tuple[str, ...]
    notices: tuple[str, ...]
    actions: tuple[str, ...]
    action_results: tuple[str, ...]
    withheld: tuple[str, ...]


class PositionMetrics:
    """Every metric of positions, as attributes.

    Counters stand at 0, and gauges at NaN until a turn has looked: nobody at risk is something
    else than nobody looked at. The index alone begins at block 0, so that one never read is late.
    """

    def __init__(self, registry: CollectorRegistry, known: PositionVocabulary) -> None:
        self._registry = registry
        self.index_block_number = self._gauge("index_block_number", "Block that the index is at")
        self.index_rows = self._unknown(
            self._gauge("index_rows", "What the index holds", "kind"),
            ("accounts", "positions", "requests"),
        )
        self.index_dropped_blocks = self._counter(
            "index_dropped_blocks", "Blocks that the chain took back"
        )
        self.index_rebuilds = self._counter("index_rebuilds", "Times that it was read anew")
        self.totals_differing = self._unknown(
            self._gauge("totals_differing", "Sums that differ from the contracts' own", "sum"),
            known.sums,
        )
        self.totals_harmful = self._number(
            "totals_harmful", "Sums that differ in the harmful direction"
        )
        self.totals_confirmed = self._counter(
            "totals_confirmed", "Harmful differences that two endpoints showed"
        )
        self.positions_screened = self._number(
            "positions_screened", "Positions that a price may have reached, at the last tick"
        )
        self.positions_at_risk = self._number(
            "positions_at_risk", "Positions that the law would liquidate, at the last tick"
        )
        self.watch_seconds = Histogram(
            "aml_watch_seconds",
            "From prices to the list of positions at risk",
            buckets=_WATCH_BUCKETS_S,
            registry=registry,
        )
        self._count_calls(known)
        self._count_actions(known)
        self._measure_cascades()

    def _measure_cascades(self) -> None:
        self.cascade_accounts = self._unknown(
            self._gauge("cascade_accounts", "Accounts that a cascade would liquidate", "plan"),
            CASCADES,
        )
        self.cascade_notional_usdc = self._unknown(
            self._gauge("cascade_notional_usdc", "What it would close, in USDC", "plan"), CASCADES
        )
        self.cascade_bad_debt_usdc = self._unknown(
            self._gauge("cascade_bad_debt_usdc", "What nobody could pay, in USDC", "plan"),
            CASCADES,
        )
        self.cascades_not_simulated = self._counter(
            "cascades_not_simulated", "Turns whose cascade was too large, and so the pace slowest"
        )

    def _count_actions(self, known: PositionVocabulary) -> None:
        self.actions = Labelled(
            self._counter(
                "position_actions", "Signed actions, by what became of them", "kind", "result"
            ),
            known.actions,
            known.action_results,
        )
        self.actions_pending = self._number(
            "position_actions_pending", "Signed actions that wait for a price of later"
        )
        self.actions_withheld = self._unknown(
            self._gauge(
                "position_actions_withheld",
                "Positions of the last turn for which nothing was proposed",
                "reason",
            ),
            known.withheld,
        )

    def _count_calls(self, known: PositionVocabulary) -> None:
        self.keeper_calls = Labelled(
            self._counter("keeper_calls", "Calls of the keeper, by what became of them", *_CALL),
            known.tasks,
            CALL_RESULTS,
        )
        self.keeper_waiting = self._unknown(
            self._gauge("keeper_waiting", "What the law would refuse now", "task"), known.tasks
        )
        self.warnings = self._unknown(
            self._gauge("warnings", "Positions and accounts at a level", "level"), known.levels
        )
        self.warned_by_chance = self._unknown(
            self._gauge(
                "warned_by_chance",
                "Warned positions and accounts whose liquidation within a horizon is so likely",
                *("horizon", "at_least"),
            ),
            HORIZONS,
            tuple(str(each) for each in CHANCES),
        )
        self.warnings_sent = Labelled(
            self._counter("warnings_sent", "Messages handed over, or kept for later", "result"),
            known.notices,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"aml_{name}", text, labels, registry=self._registry)

    def _number(self, name: str, text: str) -> Gauge:
        return unknown_gauge(self._gauge(name, text))

    def _unknown(self, gauge: Gauge, *values: Iterable[str]) -> Labelled[Gauge]:
        return unknown(Labelled(gauge, *values))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"aml_{name}", text, labels, registry=self._registry)


_CALL = ("task", "result")
