"""What the tests of chances of liquidation tell Prometheus and the log."""

from __future__ import annotations

import structlog

from agent.positions.calibration import WORDS, Judged, shares
from models.heads import HORIZONS_S
from relayer.chance_metrics import CHANCE_HORIZONS, ChanceMetrics


class ChanceTelemetry:
    """Counts outcomes and alarms, and says aloud when chances do not come true."""

    def __init__(self, metrics: ChanceMetrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger("aml")

    def judged(self, found: Judged) -> None:
        """Report one settlement."""
        names = dict(zip(HORIZONS_S, CHANCE_HORIZONS, strict=True))
        for horizon_s, tally in found.tallies.items():
            name = names[horizon_s]
            self._metrics.outcomes[name].inc(tally.outcomes)
            self._metrics.predicted[name].inc(tally.predicted)
            self._metrics.liquidated[name].inc(tally.liquidated)
        for (horizon_s, kind), share in shares(found.calibration).items():
            self._metrics.evidence_ratio[names[horizon_s], kind].set(share)
        for horizon_s, kind in found.alarms:
            self._metrics.alarms[kind].inc()
            self._log.error(
                "chances_off",
                horizon=names[horizon_s],
                kind=kind,
                what=WORDS[kind],
                do="docs/runbooks.md#amlchancesoff",
            )
