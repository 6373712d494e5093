"""What Prometheus hears of the impact budget and of what waits for approval."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from relayer.labelled import Labelled, unknown, unknown_gauge


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactVocabulary:
    """The closed label values that only the agent knows."""

    verdicts: tuple[str, ...]
    markets: tuple[str, ...]


class ImpactMetrics:
    """Every metric of the impact budget, as attributes; counters stand at 0, gauges at NaN."""

    def __init__(self, registry: CollectorRegistry, known: ImpactVocabulary) -> None:
        self.steps = Labelled(
            Counter(
                "aml_impact_steps",
                "Planned steps that ask open positions for more, by what the budget said",
                ["verdict"],
                registry=registry,
            ),
            known.verdicts,
        )
        used = Gauge(
            "aml_impact_market_used_ratio",
            "Share of the impact budget that the last cycle's step of a market takes",
            ["market"],
            registry=registry,
        )
        self.market_used_ratio = unknown(Labelled(used, known.markets))

        def of_cycle(name: str, text: str) -> Gauge:
            return unknown_gauge(Gauge(f"aml_impact_{name}", text, registry=registry))

        self.cycle_used_ratio = of_cycle(
            "cycle_used_ratio",
            "Share of the cycle's impact budget that the last cycle's steps took together",
        )
        self.accounts_number = of_cycle(
            "accounts_number", "Accounts that the last cycle's steps bring near liquidation"
        )
        self.waiting_number = of_cycle("waiting_number", "Steps that wait for approval")
