"""The impact budget's part of a cycle: look at the books where a plan asks, weigh, settle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.approvals import approvals_of, rows_after, rows_used
from agent.impact import (
    Exposure,
    ImpactSettings,
    NoEngine,
    NotSeen,
    Seen,
    Weighing,
    concerning,
    steps_of,
)
from agent.judge import Judgement
from agent.ports import Hands
from agent.posting import Posting
from agent.proof.impact import encode_ground, encode_weighing
from agent.snapshot import Snapshot
from agent.weighing import weigh
from contracts.book import Refused
from contracts.messages import RiskUpdate
from contracts.packing import unpack_risk_word
from contracts.units import MarketId
from relayer.delivery.states import Effective
from relayer.held import HeldDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgeted:
    """A weighed judgement, what of it belongs into the evidence, and the rows that it rests on."""

    weighing: Weighing
    fields: Mapping[str, Any]
    waiting: tuple[HeldDecision, ...] = ()


async def budgeted(
    judgement: Judgement, snapshot: Snapshot, hands: Hands, settings: ImpactSettings
) -> Budgeted:
    """Hold a judgement's plans against the budget, with the books as they are now."""
    limits = snapshot.limits
    waiting = () if hands.held is None else await hands.held.waiting()
    approvals = approvals_of(waiting)
    steps = steps_of(judgement, limits, snapshot.as_of_ms)
    seen: Seen | None = None
    if steps:
        markets = [step.market for step in steps]
        seen = NoEngine() if hands.exposures is None else await hands.exposures.look(markets)
    ground = (limits, snapshot.as_of_ms)
    try:
        if isinstance(seen, Exposure):
            seen = concerning(seen, steps, approvals)
        weighing = weigh(judgement, ground, seen, approvals, settings, steps)
    except Refused as fault:  # somebody stands in a market of which nothing was read
        seen = NotSeen(detail=str(fault))
        weighing = weigh(judgement, ground, seen, approvals, settings, steps)
    fields = {**encode_ground(seen, approvals, settings), **encode_weighing(weighing)}
    return Budgeted(weighing=weighing, fields=fields, waiting=waiting)


async def hold_back(
    done: Budgeted, snapshot: Snapshot, hands: Hands, settings: ImpactSettings
) -> None:
    """Write down what is held, and what no longer waits, before anything is posted."""
    if hands.held is None:
        return
    symbols = {each.market: each.history.symbol for each in snapshot.markets}
    ground = (snapshot.limits, snapshot.as_of_ms)
    rows = rows_after(done.waiting, done.weighing, ground, symbols, settings)
    await hands.held.settle(rows.held, rows.ended, snapshot.as_of_ms)


async def use_up(done: Budgeted, postings: Sequence[Posting], hands: Hands, now_ms: int) -> None:
    """Write down which released steps have taken effect."""
    if hands.held is None:
        return
    for posting in postings:
        landed = landed_in(posting)
        said = f"took effect in round {posting.message.round}"
        ended = rows_used(done.weighing, landed, said)
        if ended:
            await hands.held.settle((), ended, now_ms)


def landed_in(posting: Posting) -> frozenset[MarketId]:
    """Give the markets whose item of a message has taken effect."""
    message, outcome = posting.message, posting.outcome
    if not isinstance(message, RiskUpdate) or not isinstance(outcome, Effective):
        return frozenset()
    skipped = {each.market for each in outcome.skipped}
    markets = (unpack_risk_word(word).market for word in message.words)
    return frozenset(market for market in markets if market not in skipped)
