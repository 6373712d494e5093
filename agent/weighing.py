"""Holding a cycle's plans against the impact budget, and what was approved against the world; pure.

A step goes, goes with a longer ramp, or holds. What somebody released goes in place of what is
planned anew, as long as the world is the one that it was released in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.decisions import Hold, HoldReason
from agent.impact import (
    Approval,
    Cost,
    Exposure,
    ImpactSettings,
    NoEngine,
    Seen,
    Step,
    Verdict,
    Weighed,
    Weighing,
    applied,
    live_of,
    said_of,
    steps_of,
    stretched,
    used_of,
)
from agent.judge import Judgement
from agent.plan import Plan
from agent.snapshot import Limits
from contracts.impact import NO_IMPACT, Impact, impact_of, rising
from contracts.packing import unpack_risk_word
from contracts.refusals import Refusal
from contracts.units import PPM, USDC, MarketId, Ppm, UnixMs


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """What steps are weighed with."""

    limits: Limits
    as_of_ms: UnixMs
    validity_s: int
    settings: ImpactSettings


def weigh(
    judgement: Judgement,
    ground: tuple[Limits, UnixMs],
    seen: Seen | None,
    approvals: Sequence[Approval],
    settings: ImpactSettings,
    steps: Sequence[Step] | None = None,
) -> Weighing:
    """Hold the plans of a cycle against the budget; the rest of the judgement stays as it is.

    `steps`: what `steps_of` gave of this judgement, where that is known already.
    """
    limits, as_of_ms = ground
    steps = steps_of(judgement, limits, as_of_ms) if steps is None else steps
    scales = Scales(
        limits=limits, as_of_ms=as_of_ms, validity_s=judgement.validity_s, settings=settings
    )
    if not steps:
        _, void = released(judgement, (), approvals, lambda _: NO_IMPACT, scales)
        return Weighing(judgement=judgement, void=void)
    if isinstance(seen, NoEngine):
        said = "no margin engine is deployed, so there are no positions to bring near liquidation"
        weighed = [_unweighed(step, Verdict.NO_ENGINE, said) for step in steps]
        return Weighing(judgement=judgement, steps=tuple(weighed))
    if not isinstance(seen, Exposure):
        why = "the books were not read" if seen is None else seen.detail
        said = f"what this would do to open positions is unknown: {why}"
        weighed = [_unweighed(step, Verdict.UNKNOWN, said) for step in steps]
        return _concluded(judgement, weighed)
    return _weighed(judgement, steps, seen, approvals, scales)


def _weighed(
    judgement: Judgement,
    steps: Sequence[Step],
    seen: Exposure,
    approvals: Sequence[Approval],
    scales: Scales,
) -> Weighing:
    """Weigh each step alone, then beside those that go: approved ones first, then the cheapest."""
    near = Ppm(scales.settings.near_ppm)

    def cost(ends: Mapping[MarketId, Ppm]) -> Impact:
        return impact_of(seen.book, seen.readings, ends, near)

    chosen, void = released(judgement, steps, approvals, cost, scales)
    alone = {step.market: cost({step.market: step.end_ppm}) for step in chosen}
    going: dict[MarketId, Ppm] = {}
    for step in sorted(chosen, key=lambda each: _turn(each, alone, scales.settings)):
        together = cost({**going, step.market: step.end_ppm})
        used = max(_used_alone(alone[step.market], scales), _used_together(together, scales))
        if step.approval is not None or used <= PPM:
            going[step.market] = step.end_ppm
    cycle = cost(going)
    used_ppm = _used_together(cycle, scales)
    weighed = [
        _verdict(step, alone[step.market], used_ppm if step.market in going else None, scales)
        for step in chosen
    ]
    done = _concluded(judgement, weighed)
    return replace(done, cycle=cycle, cycle_used_ppm=used_ppm, void=void)


def _turn(
    step: Step, alone: Mapping[MarketId, Impact], settings: ImpactSettings
) -> tuple[bool, int, int]:
    used = used_of(alone[step.market], settings.market, settings.share_from_usdc)
    return step.approval is None, used, step.market


def _used_alone(impact: Impact, scales: Scales) -> int:
    return used_of(impact, scales.settings.market, scales.settings.share_from_usdc)


def _used_together(impact: Impact, scales: Scales) -> int:
    return used_of(impact, scales.settings.cycle, scales.settings.share_from_usdc)


def _verdict(step: Step, impact: Impact, cycle_used: int | None, scales: Scales) -> Weighed:
    """Say what becomes of a step; `cycle_used` None: it does not go."""
    used = max(_used_alone(impact, scales), cycle_used or 0)
    plan = step.plan if step.approval is not None else stretched(step, used, scales.settings)
    verdict = Verdict.WITHIN if plan.parameters.ramp_s == 0 else Verdict.RAMPED
    detail = said_of(impact, used, scales.settings)
    taken = applied(plan.word, step.state, scales.limits, (scales.as_of_ms, scales.validity_s))
    if isinstance(taken, Refusal):
        verdict, detail = Verdict.HELD, f"{detail}; the contract would not take it: {taken.name}"
    elif cycle_used is None:
        verdict = Verdict.HELD
        detail += "" if used > PPM else ", and with the cycle's other steps more than all of it"
    elif step.approval is not None:
        verdict, detail = Verdict.APPROVED, f"{detail}; approved as number {step.approval}"
    elif verdict is Verdict.RAMPED:
        detail = f"{detail}; ramped over {plan.parameters.ramp_s} s"
    return Weighed(
        market=step.market,
        verdict=verdict,
        impact=impact,
        used_ppm=used,
        plan=plan,
        live=live_of(step.state),
        ramp_s=plan.parameters.ramp_s or step.notice_s,
        detail=detail,
        approval=step.approval,
    )


def _unweighed(step: Step, verdict: Verdict, detail: str) -> Weighed:
    return Weighed(
        market=step.market,
        verdict=verdict,
        impact=NO_IMPACT,
        used_ppm=0,
        plan=step.plan,
        live=live_of(step.state),
        ramp_s=step.plan.parameters.ramp_s or step.notice_s,
        detail=detail,
    )


def _concluded(judgement: Judgement, weighed: Sequence[Weighed]) -> Weighing:
    """Put what became of each step into the judgement."""
    outcomes = {each.market: _outcome(each) for each in weighed}
    judged = tuple(
        replace(each, outcome=outcomes[each.market]) if each.market in outcomes else each
        for each in judgement.judged
    )
    return Weighing(judgement=replace(judgement, judged=judged), steps=tuple(weighed))


def _outcome(weighed: Weighed) -> Plan | Hold:
    if weighed.verdict is Verdict.HELD:
        detail = f"{weighed.detail}; awaiting approval (aml approve --list)"
        return Hold(market=weighed.market, reason=HoldReason.IMPACT, detail=detail)
    if weighed.verdict is Verdict.UNKNOWN:
        return Hold(market=weighed.market, reason=HoldReason.IMPACT_UNKNOWN, detail=weighed.detail)
    return weighed.plan


def released(
    judgement: Judgement,
    steps: Sequence[Step],
    approvals: Sequence[Approval],
    cost: Cost,
    scales: Scales,
) -> tuple[tuple[Step, ...], dict[int, str]]:
    """Put what was approved in place of what is planned anew; say which approvals are void."""
    chosen = {step.market: step for step in steps}
    planned = {each.market for each in judgement.judged if isinstance(each.outcome, Plan)}
    void: dict[int, str] = {}
    for approval in approvals:
        step = chosen.get(approval.market)
        found = _still_holds(approval, step, cost, scales)
        if isinstance(found, Step):
            chosen[approval.market] = found
        elif found is not None:
            void[approval.number] = found
        elif approval.market in planned:
            void[approval.number] = "nothing open is asked for more by what is wanted now"
    return tuple(chosen.values()), void


def _still_holds(
    approval: Approval, step: Step | None, cost: Cost, scales: Scales
) -> Step | str | None:
    """Give the step that was approved, why it is void, or None: it waits."""
    if approval.expires_at_ms < scales.as_of_ms:
        return "it was not used in time"
    state = scales.limits.states[approval.market]
    if live_of(state) != approval.live:
        return "the live values have changed since it was held"
    if step is None:
        return None
    parameters = unpack_risk_word(approval.word)
    most = parameters.cap_e2 * (PPM + scales.settings.drift_ppm) // PPM
    if step.plan.parameters.cap_e2 > most:
        return f"less is wanted by now: a cap of {step.plan.parameters.cap_e2 / 100:.2f}x"
    at = (scales.as_of_ms, scales.validity_s)
    after = applied(approval.word, state, scales.limits, at)
    if isinstance(after, Refusal):
        return f"the contract would not take it now: {after.name}"
    end_ppm = rising(state, after)
    if end_ppm is None:
        return "nothing open is asked for more by it any longer"
    now = cost({approval.market: end_ppm})
    if grown := grown_by(approval.impact, now, scales.settings.drift_ppm):
        return f"the impact has grown: {grown}"
    plan = replace(step.plan, parameters=parameters, word=approval.word, note="approved")
    return replace(step, plan=plan, end_ppm=end_ppm, approval=approval.number)


def grown_by(then: Impact, now: Impact, drift_ppm: int) -> str:
    """Name what of an impact is more than it was; empty where nothing is.

    The notional may be dearer by a drift: the same positions at the next price are not more.
    """
    most = then.notional * (PPM + drift_ppm) // PPM
    rows = (
        ("accounts", then.accounts, now.accounts, then.accounts),
        ("liquidatable", then.liquidatable, now.liquidatable, then.liquidatable),
        ("USDC", then.notional // USDC, now.notional // USDC, most // USDC),
    )
    return ", ".join(f"{new:,} {name}, was {old:,}" for name, old, new, at_most in rows
                     if new > at_most)  # fmt: skip
