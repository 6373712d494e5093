"""What a cycle may conclude about a market: a decision, or no action with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contracts.units import LeverageE2, MarketId, Ppm, UnixMs, WholeUsdc


class HoldReason(StrEnum):
    """Why nothing is done; each is a metric label, so the set is closed."""

    WARMING_UP = "warming_up"
    TOO_FEW_VENUES = "too_few_venues"
    VENUES_STALE = "venues_stale"
    VENUES_DISAGREE = "venues_disagree"
    JUMP_UNCONFIRMED = "jump_unconfirmed"
    STABLECOIN_OFF_PEG = "stablecoin_off_peg"
    STABLECOIN_UNKNOWN = "stablecoin_unknown"
    HISTORY_STALE = "history_stale"
    OUT_OF_DOMAIN = "out_of_domain"
    SCORES_INCOHERENT = "scores_incoherent"
    MARK_FAR_FROM_CHAIN = "mark_far_from_chain"
    NO_FEASIBLE_CAP = "no_feasible_cap"
    FROZEN = "frozen"
    PAUSED = "paused"
    NO_FEASIBLE_STEP = "no_feasible_step"
    IMPACT = "impact"
    IMPACT_UNKNOWN = "impact_unknown"
    UNKNOWN_MARKET = "unknown_market"
    CLOCK_SKEW = "clock_skew"
    NO_QUORUM = "no_quorum"
    DRY_RUN = "dry_run"
    CHAIN_UNREACHABLE = "chain_unreachable"
    ENDPOINTS_DISAGREE = "endpoints_disagree"
    STORAGE_FAILED = "storage_failed"
    NOT_LEADING = "not_leading"
    NO_RELAY = "no_relay"
    NOT_DELIVERED = "not_delivered"
    NOTHING_TO_DO = "nothing_to_do"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """No action for one market (or, where `market` is None, for the whole cycle), and why."""

    market: MarketId | None
    reason: HoldReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the policy wants for one market, before the live limits are looked at.

    Ratios in ppm, leverage in hundredths, amounts in whole USDC; float has ended here.
    """

    market: MarketId
    as_of_ms: UnixMs
    cap_e2: LeverageE2
    maintenance_ppm: Ppm
    open_interest_cap_usdc: WholeUsdc
    size_scale_usdc: WholeUsdc
    spread_ppm: Ppm
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedDecision:
    """A decision that has passed every guard; only `agent.guard.guard` makes one."""

    decision: Decision
