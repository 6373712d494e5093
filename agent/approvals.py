"""What is held for a person: which row each held step becomes, and which rows are over; pure.

A step that is held again as it was keeps its row and number, so that somebody can read it in peace.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from agent.impact import Approval, ImpactSettings, Verdict, Weighed, Weighing, live_of
from agent.plan import Plan
from agent.snapshot import Limits
from agent.weighing import grown_by
from contracts.impact import Impact
from contracts.packing import unpack_risk_word
from contracts.units import MS_PER_S, PPM, MarketId, UnixMs, UsdcE6
from relayer.held import Ended, HeldDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a cycle changes of the held decisions."""

    held: tuple[HeldDecision, ...]
    ended: tuple[Ended, ...]


def approval_of(row: HeldDecision) -> Approval:
    """Read a released row as the budget takes it."""
    return Approval(
        number=row.number,
        market=MarketId(row.market),
        word=row.word,
        live=row.live,
        impact=impact_from(row.impact),
        expires_at_ms=UnixMs(row.expires_at_ms),
        by=row.decided_by,
        why=row.why,
        at_ms=UnixMs(row.decided_at_ms or 0),
    )


def approvals_of(rows: Sequence[HeldDecision]) -> tuple[Approval, ...]:
    """Give what was released and is not used yet."""
    return tuple(approval_of(row) for row in rows if row.state == "approved")


def impact_from(counts: Mapping[str, int]) -> Impact:
    """Read an impact back from its counts."""
    return Impact(
        accounts=counts["accounts"],
        notional=UsdcE6(counts["notional"]),
        liquidatable=counts["liquidatable"],
        touched=counts["touched"],
        open_interest=UsdcE6(counts["open_interest"]),
    )


def rows_after(
    rows: Sequence[HeldDecision],
    weighing: Weighing,
    ground: tuple[Limits, UnixMs],
    symbols: Mapping[MarketId, str],
    settings: ImpactSettings,
) -> Rows:
    """Say which rows are new, and which are over, before anything is posted."""
    now_ms = ground[1]
    held = {each.market: each for each in weighing.steps if each.verdict is Verdict.HELD}
    ended = [Ended(number=n, state="void", reason=why) for n, why in weighing.void.items()]
    kept: set[MarketId] = set()
    planned = {each.market for each in weighing.judgement.judged if isinstance(each.outcome, Plan)}
    for row in (each for each in rows if each.state == "awaiting"):
        market = MarketId(row.market)
        over = _over(row, held.get(market), ground, settings)
        if over is None and market in planned:
            over = "what is wanted now goes without approval"
        if over is None:
            kept.add(market)
        else:
            state = "expired" if row.expires_at_ms < now_ms else "void"
            ended.append(Ended(number=row.number, state=state, reason=over))  # type: ignore[arg-type]
    waits = kept | _approved(rows, weighing)
    new = [each for market, each in held.items() if market not in waits]
    made = tuple(_row(each, symbols.get(each.market, str(each.market)), now_ms, settings)
                 for each in new)  # fmt: skip
    return Rows(held=made, ended=tuple(ended))


def rows_used(weighing: Weighing, landed: Collection[MarketId], said: str) -> tuple[Ended, ...]:
    """Say which released rows are used up: what they released has taken effect."""
    return tuple(
        Ended(number=each.approval, state="used", reason=said)
        for each in weighing.steps
        if each.approval is not None and each.market in landed
    )


def _approved(rows: Sequence[HeldDecision], weighing: Weighing) -> set[MarketId]:
    """Give the markets that a released row still stands for."""
    return {
        MarketId(row.market)
        for row in rows
        if row.state == "approved" and row.number not in weighing.void
    }


def _over(
    row: HeldDecision,
    step: Weighed | None,
    ground: tuple[Limits, UnixMs],
    settings: ImpactSettings,
) -> str | None:
    """Say why a row that awaits approval is over; None: it still stands."""
    limits, now_ms = ground
    if row.expires_at_ms < now_ms:
        return "nobody approved it in time"
    if row.market < len(limits.states) and live_of(limits.states[row.market]) != row.live:
        return "the live values have changed since it was held"
    if step is None:
        return None
    if grown := grown_by(impact_from(row.impact), step.impact, settings.drift_ppm):
        return f"the impact has grown: {grown}"
    then, now = unpack_risk_word(row.word).cap_e2, step.plan.parameters.cap_e2
    if abs(now - then) * PPM > then * settings.drift_ppm:
        return f"a cap of {now / 100:.2f}x is wanted now, not {then / 100:.2f}x"
    return None


def _row(step: Weighed, symbol: str, now_ms: UnixMs, settings: ImpactSettings) -> HeldDecision:
    asked = step.plan.parameters
    return HeldDecision(
        market=step.market,
        symbol=symbol,
        word=step.plan.word,
        live=step.live,
        impact=asdict(step.impact),
        detail=f"cap to {asked.cap_e2 / 100:.2f}x, maintenance of managed positions ramped to "
        f"{asked.maintenance_ppm / 10_000:.3f} % over {step.ramp_s} s: "
        f"{step.detail}",
        held_at_ms=now_ms,
        expires_at_ms=now_ms + settings.approval_s * MS_PER_S,
    )
