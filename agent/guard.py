"""The last look before a decision may be planned: is its market still what it was made for.

Guards face ourselves first: most losses of the field were unit and configuration errors of the
operator's own (docs/architecture.md). Each guard that does not pass is a `Hold` with its reason.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from agent.decisions import Decision, GuardedDecision, Hold, HoldReason
from agent.settings import Section
from agent.snapshot import MarketSnapshot
from contracts.units import is_coherent

PPM = 1_000_000
MS = 1_000


class GuardSettings(Section):
    """What a market must look like for a decision about it to be believed."""

    history_stale_after_s: int = Field(default=900, gt=0)
    mark_stale_after_s: int = Field(default=10, gt=0)
    # Beyond this from a price that the chain took less than `chain_price_fresh_s` ago, somebody is
    # wrong: Moonwell's ratio used as a price and Term's decimals were both further off.
    max_distance_from_chain_ppm: int = Field(default=200_000, gt=0)
    chain_price_fresh_s: int = Field(default=120, gt=0)


Guard = Callable[[Decision, MarketSnapshot, GuardSettings], Hold | None]


def guard(
    decision: Decision, market: MarketSnapshot, settings: GuardSettings
) -> GuardedDecision | Hold:
    """Let a decision pass every guard, or hold with the first one's reason."""
    for check in GUARDS:
        hold = check(decision, market, settings)
        if hold is not None:
            return hold
    return GuardedDecision(decision=decision)


def coherent_tuple(decision: Decision, _: MarketSnapshot, __: GuardSettings) -> Hold | None:
    """Cap and maintenance are one tuple, and every amount permits something."""
    amounts = (decision.open_interest_cap_usdc, decision.size_scale_usdc, decision.spread_ppm)
    if is_coherent(decision.cap_e2, decision.maintenance_ppm) and min(amounts) > 0:
        return None
    detail = f"cap {decision.cap_e2}, maintenance {decision.maintenance_ppm}, amounts {amounts}"
    return Hold(market=decision.market, reason=HoldReason.SCORES_INCOHERENT, detail=detail)


def fresh_mark(decision: Decision, market: MarketSnapshot, settings: GuardSettings) -> Hold | None:
    """The mark was observed just before the decision, and not after it."""
    age_ms = decision.as_of_ms - market.mark.observed_at_ms
    if 0 <= age_ms <= settings.mark_stale_after_s * MS:
        return None
    detail = f"the mark is {age_ms} ms old, allowed 0 to {settings.mark_stale_after_s} s"
    return Hold(market=decision.market, reason=HoldReason.VENUES_STALE, detail=detail)


def fresh_history(
    decision: Decision, market: MarketSnapshot, settings: GuardSettings
) -> Hold | None:
    """The latest closed minute is recent: scores of an hour ago are not scores of now."""
    closed_ms = market.last_closed_ms
    age_s = (decision.as_of_ms - closed_ms) // MS if closed_ms is not None else None
    if age_s is not None and 0 <= age_s <= settings.history_stale_after_s:
        return None
    detail = f"the latest closed bar is {age_s} s old, allowed {settings.history_stale_after_s} s"
    return Hold(market=decision.market, reason=HoldReason.HISTORY_STALE, detail=detail)


def near_chain(decision: Decision, market: MarketSnapshot, settings: GuardSettings) -> Hold | None:
    """The mark is near what the chain took a moment ago; a power of ten is not."""
    known = market.posted
    if known is None or known.price_e18 <= 0:
        return None
    age_s = (market.mark.observed_at_ms - known.observed_at_ms) // MS
    if age_s > settings.chain_price_fresh_s:
        return None
    distance_ppm = abs(market.mark.price_e18 - known.price_e18) * PPM // known.price_e18
    if distance_ppm <= settings.max_distance_from_chain_ppm:
        return None
    detail = f"mark is {distance_ppm} ppm from the chain's price of {age_s} s ago"
    return Hold(market=decision.market, reason=HoldReason.MARK_FAR_FROM_CHAIN, detail=detail)


GUARDS: tuple[Guard, ...] = (coherent_tuple, fresh_mark, fresh_history, near_chain)
