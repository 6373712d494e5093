"""What became of positions, for the journal: since when a liquidation was due, who was watched.

What was said of those whose day is over is held against what followed (`calibration`).

Everything here comes after what a turn or cycle had to do, and costs a bounded number of rows. A
write that fails costs rows to learn from and shows as a fault of storage; no decision waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from agent.positions.ahead import Ahead
from agent.positions.calibration import Calibration, calibration_from, judged, state_of
from agent.positions.chance_telemetry import ChanceTelemetry
from agent.positions.look import Look
from agent.positions.warn import Assessed, Warned
from contracts.book_words import PositionId
from relayer.chain.index import Index
from relayer.chain.index_lives import CLOSED, OPEN, TRADES_KEPT
from relayer.outcomes import DAY_S, MS, Outcomes, Watched

WATCHED_A_CYCLE: Final = 64  # of the board, the most urgent
JOINED_A_CYCLE: Final = 256
SETTLED_A_CYCLE: Final = 256


class Feedback:
    """Writes what the daemon saw of positions, and joins what came of them."""

    def __init__(self, outcomes: Outcomes, telemetry: ChanceTelemetry | None = None) -> None:
        self._outcomes = outcomes
        self._telemetry = telemetry
        self._calibration: Calibration | None = None
        self._due: frozenset[PositionId] | None = None
        self._chain_s = 0

    async def looked(self, look: Look | None) -> None:
        """Take what a turn saw: who may be liquidated, written only when that changes."""
        if look is None:
            return
        self._chain_s = look.stamp.timestamp_s
        weak = frozenset(look.weak)
        if weak == self._due and not weak:
            return
        names = [f"{identity:046x}" for identity in sorted(weak)]
        await self._outcomes.due(names, look.stamp.number, look.stamp.timestamp_s)
        self._due = weak

    async def after_cycle(
        self, board: Sequence[Warned], index: Index, ahead: Ahead, now_ms: int
    ) -> None:
        """Keep how the most urgent stand, join what is new, settle what a day has passed over."""
        stand = (each.found for each in board[:WATCHED_A_CYCLE])
        rows = [watched_of(each, index, ahead, now_ms) for each in stand]
        await self._outcomes.watched([each for each in rows if each is not None])
        await self._outcomes.join(now_ms, JOINED_A_CYCLE)
        # Turns look at no block while nobody has a position; days of those before end all the same.
        self._chain_s = max(self._chain_s, ahead.chain_s)
        before_ms = (self._chain_s - DAY_S) * MS
        over = await self._outcomes.settling(before_ms, SETTLED_A_CYCLE)
        ended = [replace(each, closed_s=closed_s(each, index)) for each in over]
        await self._judge(await self._outcomes.settle(ended, now_ms))

    async def _judge(self, settled: Sequence[Watched]) -> None:
        """Hold what was said of them against what followed; a fault of storage costs evidence."""
        if self._calibration is None:
            self._calibration = calibration_from(await self._outcomes.chance_tests() or {})
        if settled:
            found = judged(self._calibration, settled)
            self._calibration = found.calibration
            await self._outcomes.keep_chance_tests(state_of(found.calibration))
            if self._telemetry is not None:
                self._telemetry.judged(found)


def watched_of(found: Assessed, index: Index, ahead: Ahead, now_ms: int) -> Watched | None:
    """Write how one stands; None where its market has no forecast or it cannot be liquidated."""
    deviations = ahead.deviations.get(found.market)
    if deviations is None or found.liquidation_price is None:
        return None
    facts: dict[str, Any] = {
        "model": ahead.model_hash.hex(),
        "account": found.account,
        "market": found.market,
        "is_cross": found.is_cross,
        "side": found.side,
        "level": int(found.level),
        "distance": found.distance,
        "deviations": list(deviations),
        "chances": None if found.chances is None else list(found.chances),
    }
    if not found.is_cross:
        held = index.position(PositionId(int(found.key, 16)))
        facts |= {"leverage_e2": held.leverage_e2, "size": str(held.size)}
    return Watched(watched_as=found.key, at_ms=now_ms, facts=facts)


def closed_s(row: Watched, index: Index) -> int | None:
    """Say when what was watched was closed within a day; at once, where it is not known any more.

    An account's newest trades are kept: where none of them is old enough, more may have ended.
    """
    facts, from_s = row.facts, row.at_ms // MS
    ended = [each for each in index.trades_of(facts["account"]) if each.end != OPEN]
    if len(ended) >= TRADES_KEPT and min(each.closed_s for each in ended) > from_s:
        return from_s
    same = (e for e in ended if (e.market, e.long) == (facts["market"], facts["side"] > 0))
    times = [each.closed_s for each in same if each.end == CLOSED]
    return min((at for at in times if from_s < at <= from_s + DAY_S), default=None)
