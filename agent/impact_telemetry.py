"""What Prometheus and the log hear of the impact budget, once a cycle."""

from __future__ import annotations

import structlog

from agent.impact import Verdict, Weighed, Weighing
from contracts.units import PPM
from relayer.impact_metrics import ImpactMetrics, ImpactVocabulary
from relayer.metrics import Metrics

QUIET = frozenset({Verdict.WITHIN, Verdict.NO_ENGINE})


class ImpactTelemetry:
    """Counts and logs weighed steps; `symbols` name the markets in market-id order."""

    def __init__(self, metrics: Metrics, symbols: tuple[str, ...]) -> None:
        verdicts = tuple(verdict.value for verdict in Verdict)
        known = ImpactVocabulary(verdicts=verdicts, markets=symbols)
        self._metrics = ImpactMetrics(metrics.registry, known)
        self._symbols = symbols
        self._log = structlog.get_logger("aml")

    def weighed(self, weighing: Weighing) -> None:
        """Report one cycle's steps; a market without one takes nothing of the budget."""
        self._metrics.cycle_used_ratio.set(weighing.cycle_used_ppm / PPM)
        self._metrics.accounts_number.set(weighing.cycle.accounts)
        held = sum(step.verdict is Verdict.HELD for step in weighing.steps)
        self._metrics.waiting_number.set(held)
        used = {int(step.market): step.used_ppm for step in weighing.steps}
        for market, symbol in enumerate(self._symbols):
            self._metrics.market_used_ratio[symbol].set(used.get(market, 0) / PPM)
        for step in weighing.steps:
            self._step(step)
        for number, why in weighing.void.items():
            self._log.warning("approval_void", number=number, why=why)

    def _step(self, step: Weighed) -> None:
        self._metrics.steps[step.verdict.value].inc()
        if step.verdict not in QUIET:
            said = step.verdict.value
            self._log.warning("impact", market=step.market, verdict=said, detail=step.detail)
