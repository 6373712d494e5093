"""What a cycle's plans would do to open positions, and whether that is within the budget; pure.

Between plan and attest. A step whose ramp ends higher is counted (`contracts.impact`), alone and
with the cycle's others: within the soft budget it goes, above it it is ramped for longer, above
the hard one it holds until somebody approves it. What is for new risk only always goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeAlias

from pydantic import Field

from agent.judge import Judged, Judgement
from agent.plan import Plan, stamp_at
from agent.settings import Section
from agent.snapshot import Limits
from contracts.book import Book
from contracts.book_readings import Readings
from contracts.impact import (
    NEAR_PPM,
    NO_IMPACT,
    Impact,
    part_of,
    readings_in,
    rising,
)
from contracts.packing import MAX_RAMP_S, pack_risk_word, unpack_risk_word
from contracts.refusals import Refusal
from contracts.risk_bounds import encode_values
from contracts.risk_oracle import MarketState, apply_item
from contracts.units import PPM, USDC, MarketId, Ppm, UnixMs, ceil_div

LIVE_BITS: Final = 59  # of a market's values in its slot; above them whether a revert holds it


class Verdict(StrEnum):
    """What the budget says of a step; each is a metric label, so the set is closed."""

    WITHIN = "within"
    RAMPED = "ramped"
    HELD = "held"
    APPROVED = "approved"
    UNKNOWN = "unknown"
    NO_ENGINE = "no_engine"


class Budget(Section):
    """The most that is done without asking; the share is of open interest in the markets moved."""

    accounts: int = Field(default=50, ge=0)
    liquidatable: int = Field(default=10, ge=0)
    notional_usdc: int = Field(default=1_000_000, ge=0)
    open_interest_ppm: int = Field(default=250_000, ge=0)


class CycleBudget(Budget):
    """The most of all steps of a cycle together."""

    accounts: int = Field(default=100, ge=0)
    liquidatable: int = Field(default=20, ge=0)
    notional_usdc: int = Field(default=2_000_000, ge=0)
    open_interest_ppm: int = Field(default=150_000, ge=0)


class ImpactSettings(Section):
    """What a tightening may do to open positions before somebody has to approve it."""

    near_ppm: int = Field(default=NEAR_PPM, ge=0, le=10 * PPM)
    # Above this share of a budget a step is ramped for longer, in proportion.
    soft_ppm: int = Field(default=250_000, gt=0, le=PPM)
    longest_ramp_s: int = Field(default=43_200, ge=0, le=MAX_RAMP_S)
    # A thin market's single trader is all of its open interest: less notional is no share.
    share_from_usdc: int = Field(default=100_000, ge=0)
    approval_s: int = Field(default=3_600, ge=60, le=86_400)
    # How much looser a cap may be wanted by now, and the positions be dearer, for an approval to
    # hold still.
    drift_ppm: int = Field(default=50_000, ge=0, le=PPM)
    market: Budget = Budget()
    cycle: CycleBudget = CycleBudget()


DEFAULTS: Final = ImpactSettings()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exposure:
    """The books of positions at one block, and what feed and oracle show there."""

    book: Book
    readings: Readings
    block_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSeen:
    """The books could not be read; positions may exist."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoEngine:
    """The deployment has no margin engine: there are no positions to hurt."""


Seen: TypeAlias = Exposure | NotSeen | NoEngine
Cost: TypeAlias = Callable[[Mapping[MarketId, Ppm]], Impact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A held step that somebody released; it is that step and no other."""

    number: int
    market: MarketId
    word: int
    live: int
    impact: Impact
    expires_at_ms: UnixMs
    by: str
    why: str
    at_ms: UnixMs


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A planned item that asks open positions for more, and where its ramp would end."""

    judged: Judged
    plan: Plan
    state: MarketState
    end_ppm: Ppm
    notice_s: int
    approval: int | None = None

    @property
    def market(self) -> MarketId:
        """The market's id."""
        return self.judged.market


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """One step after the budget: what it costs, how much of the budget that is, what became of it.

    `plan` is what would go, or goes, `ramp_s` how long it ramps; `live` what the chain held then.
    """

    market: MarketId
    verdict: Verdict
    impact: Impact
    used_ppm: int
    plan: Plan
    live: int
    ramp_s: int
    detail: str
    approval: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """A judgement after the budget, its steps weighed; `void`: approvals that no longer hold."""

    judgement: Judgement
    steps: tuple[Weighed, ...] = ()
    cycle: Impact = NO_IMPACT
    cycle_used_ppm: int = 0
    void: Mapping[int, str] = field(default_factory=dict)


def steps_of(judgement: Judgement, limits: Limits, as_of_ms: UnixMs) -> tuple[Step, ...]:
    """Give the planned items that ask open positions for more."""
    found = []
    for judged in judgement.judged:
        plan = judged.outcome
        if not isinstance(plan, Plan) or judged.market >= len(limits.states):
            continue
        state = limits.states[judged.market]
        after = applied(plan.word, state, limits, (as_of_ms, judgement.validity_s))
        end = None if isinstance(after, Refusal) else rising(state, after)
        if end is not None:
            notice_s = limits.bounds[state.class_id].notice_s
            found.append(
                Step(judged=judged, plan=plan, state=state, end_ppm=end, notice_s=notice_s)
            )
    return tuple(found)


def concerning(seen: Exposure, steps: Sequence[Step], approvals: Sequence[Approval]) -> Exposure:
    """Cut the books down to whom these steps, or what was approved in their place, may touch."""
    ends: dict[MarketId, Ppm] = {step.market: step.end_ppm for step in steps}
    for each in approvals:
        if each.market in ends:
            asked = unpack_risk_word(each.word).maintenance_ppm
            ends[each.market] = max(ends[each.market], asked)
    book = part_of(seen.book, seen.readings, ends)
    return replace(seen, book=book, readings=readings_in(seen.readings, book))


def applied(
    word: int, state: MarketState, limits: Limits, at: tuple[UnixMs, int]
) -> MarketState | Refusal:
    """Ask the contract's mirror what a market would be after an item."""
    bounds = limits.bounds[state.class_id]
    stamp = stamp_at(at[0], min(at[1], bounds.max_validity_s))
    return apply_item(state, word, bounds, stamp, limits.controls)


def live_of(state: MarketState) -> int:
    """Give what an approval is bound to: a market's values, and whether a revert holds them."""
    return int(state.held) << LIVE_BITS | encode_values(state.values)


def used_of(impact: Impact, budget: Budget, share_from_usdc: int) -> int:
    """Give the largest share of a budget that an impact takes, up; above 10^6 it is too much."""
    used = [
        _share(impact.accounts, budget.accounts),
        _share(impact.liquidatable, budget.liquidatable),
        _share(impact.notional, budget.notional_usdc * USDC),
    ]
    if impact.notional > share_from_usdc * USDC:
        used.append(_share(impact.share_ppm, budget.open_interest_ppm))
    return max(used)


def _share(count: int, most: int) -> int:
    if count == 0:
        return 0
    return ceil_div(count * PPM, most) if most else 2 * PPM


def stretched(step: Step, used_ppm: int, settings: ImpactSettings) -> Plan:
    """Give a plan with a ramp as long as its use of the budget asks for."""
    ramp_s = least_ramp_s(step.notice_s, used_ppm, settings)
    if ramp_s <= step.notice_s:
        return step.plan
    parameters = replace(step.plan.parameters, ramp_s=ramp_s)
    return replace(step.plan, parameters=parameters, word=pack_risk_word(parameters))


def least_ramp_s(notice_s: int, used_ppm: int, settings: ImpactSettings) -> int:
    """Give how long a ramp takes: as many times the notice as its use is of the soft budget."""
    times = max(1, ceil_div(used_ppm, settings.soft_ppm))
    return min(notice_s * times, max(notice_s, settings.longest_ramp_s), MAX_RAMP_S)


def said_of(impact: Impact, used_ppm: int, settings: ImpactSettings) -> str:
    """Say in words what a step would do."""
    if impact.touched == 0:
        return "no open position is asked for more by it"
    return (
        f"asks more of {impact.touched} accounts; brings {impact.accounts} of them, with "
        f"{impact.notional // USDC:,} USDC, to within {settings.near_ppm / 10_000:g} % of "
        f"liquidation, {impact.liquidatable} all the way, at the prices of now: "
        f"{used_ppm / 10_000:.0f} % of the impact budget"
    )
