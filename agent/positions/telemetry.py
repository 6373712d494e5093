"""What turns over positions tell Prometheus and the log; one place, so that both agree."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import structlog

from agent.positions.action_turn import Acted
from agent.positions.actions import Withheld
from agent.positions.cascade import Cascade
from agent.positions.keeper import TaskKind
from agent.positions.levels import LEVELS, Level
from agent.positions.look import Done, Turn
from agent.positions.reconcile import Difference, Sum
from relayer.chain.index import Index
from relayer.chain.index_ledger import Table
from relayer.delivery.states import Effective, detail_of, state_of
from relayer.position_metrics import CHANCES, HORIZONS, PositionMetrics


class PositionTelemetry:
    """Counts and logs turns, and says aloud when sums begin or cease to differ."""

    def __init__(self, metrics: PositionMetrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger("aml")
        self._differing: frozenset[str] = frozenset()

    def turn(self, turn: Turn, index: Index) -> None:
        """Report one turn; one in which nothing happened is not logged."""
        self._index(turn, index)
        waiting = Counter(each.kind for each in turn.agenda.waiting)
        for kind in TaskKind:
            self._metrics.keeper_waiting[kind.value].set(waiting[kind])
        if turn.look is not None:
            self._metrics.positions_screened.set(len(turn.look.screened))
            self._metrics.positions_at_risk.set(len(turn.look.weak))
            self._metrics.watch_seconds.observe(turn.look.took_s)
        elif not len(index.ledger.tables[Table.POSITION]):
            self._metrics.positions_screened.set(0)  # nobody to look at is known
            self._metrics.positions_at_risk.set(0)
        self._metrics.warnings_sent["taken"].inc(turn.said.taken)
        self._metrics.warnings_sent["refused"].inc(turn.said.refused)
        for done in turn.done:
            self._call(done)
        for acted in (*turn.sent, *turn.decided.acted):
            self._action(acted)
        withheld = Counter(turn.decided.withheld)
        for why in Withheld:
            self._metrics.actions_withheld[why.value].set(withheld[why])

        if turn.cascade is not None:
            self._cascade(turn.cascade)

    def pending_actions(self, count: int) -> None:
        """Report how many signed actions wait for their price."""
        self._metrics.actions_pending.set(count)

    def warnings(self, counts: Counter[Level]) -> None:
        """Report how many warnings stand at which level."""
        for level in LEVELS:
            self._metrics.warnings[level.label].set(counts[level])

    def chances(self, found: Sequence[tuple[float, ...]]) -> None:
        """Report how many of the warned are how likely to be liquidated, over each horizon."""
        for place, horizon in enumerate(HORIZONS):
            column = sorted(each[place] for each in found)
            for least in CHANCES:
                count = len(column) - bisect_left(column, least)
                self._metrics.warned_by_chance[horizon, str(least)].set(count)

    def differences(self, found: Sequence[Difference], certain: Sequence[Difference]) -> None:
        """Report how the contracts' sums compare with the index's."""
        count = Counter(each.what for each in found)
        for what in Sum:
            self._metrics.totals_differing[what.value].set(count[what])
        self._metrics.totals_harmful.set(sum(each.harmful for each in found))
        self._metrics.totals_confirmed.inc(len(certain))
        names = frozenset(each.name for each in found)
        for each in found:
            if each.name not in self._differing:
                self._log.error(
                    "totals_differ",
                    what=each.name,
                    expected=str(each.expected),
                    found=str(each.found),
                    harmful=each.harmful,
                )
        if self._differing and not names:
            self._log.info("totals_agree_again")
        self._differing = names

    def frozen(self, certain: Sequence[Difference], detail: str) -> None:
        """Report that new risk was to be stopped, and what became of it."""
        names = ", ".join(each.name for each in certain)
        self._log.critical("new_risk_stopped", because=names, detail=detail)

    def _index(self, turn: Turn, index: Index) -> None:
        tables = index.ledger.tables
        self._metrics.index_block_number.set(turn.advance.block[0])
        self._metrics.index_rows["accounts"].set(len(tables[Table.ACCOUNT]))
        self._metrics.index_rows["positions"].set(len(tables[Table.POSITION]))
        self._metrics.index_rows["requests"].set(len(tables[Table.REQUEST]))
        if turn.advance.dropped:
            self._metrics.index_dropped_blocks.inc(turn.advance.dropped)
            self._log.warning(
                "blocks_dropped", count=turn.advance.dropped, rebuilt=turn.advance.rebuilt
            )
        if turn.advance.rebuilt:
            self._metrics.index_rebuilds.inc()

    def _call(self, done: Done) -> None:
        outcome = done.outcome
        deferred = isinstance(outcome, Effective) and bool(outcome.skipped)
        result = "deferred" if deferred else state_of(outcome).value
        self._metrics.keeper_calls[done.task.kind.value, result].inc()
        self._log.info("keeper_call", task=done.task.key, result=result, detail=detail_of(outcome))

    def _action(self, acted: Acted) -> None:
        self._metrics.actions[acted.what.name, acted.result].inc()
        self._log.info(
            "position_action",
            kind=acted.what.name,
            position=f"{acted.what.identity:046x}",
            result=acted.result,
            because=acted.what.because[0],
            detail=acted.detail,
            evidence=acted.evidence_hash.hex(),
        )

    def _cascade(self, found: Cascade) -> None:
        paths = {"paced": found.paced, "unpaced": found.unpaced}
        if found.paced is None:
            self._metrics.cascades_not_simulated.inc()
        shown = (
            self._metrics.cascade_accounts,
            self._metrics.cascade_notional_usdc,
            self._metrics.cascade_bad_debt_usdc,
        )
        for name, path in paths.items():
            worth: tuple[float, float, float] = (math.nan, math.nan, math.nan)
            if path is not None:
                worth = (path.accounts, path.notional_usdc, path.bad_debt_usdc)
            for gauges, value in zip(shown, worth, strict=True):
                gauges[name].set(value)
        self._log.info("cascade", **found.plain())
