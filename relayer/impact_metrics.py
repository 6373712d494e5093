"""What Prometheus hears of the impact budget and of what waits for approval."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from relayer.metrics import Labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactVocabulary:
    """The closed label values that only the agent knows."""

    verdicts: tuple[str, ...]
    markets: tuple[str, ...]


class ImpactMetrics:
    """Every metric of the impact budget, as attributes; labels stand at 0 from the first scrape."""

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
        self.market_used_ratio = Labelled(
            Gauge(
                "aml_impact_market_used_ratio",
                "Share of the impact budget that the last cycle's step of a market takes",
                ["market"],
                registry=registry,
            ),
            known.markets,
        )
        self.cycle_used_ratio = Gauge(
            "aml_impact_cycle_used_ratio",
            "Share of the cycle's impact budget that the last cycle's steps took together",
            registry=registry,
        )
        self.accounts_number = Gauge(
            "aml_impact_accounts_number",
            "Accounts that the last cycle's steps bring near liquidation",
            registry=registry,
        )
        self.waiting_number = Gauge(
            "aml_impact_waiting_number",
            "Steps that wait for approval",
            registry=registry,
        )
