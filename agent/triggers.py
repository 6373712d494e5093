"""Which markets a price round is for: those that must be posted, and those that ride along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pydantic import Field

from agent.settings import Section
from contracts.units import MarketId, PriceE18, UnixMs
from relayer.market.aggregate import Mark

PPM = 1_000_000
NOBODY_WAITS: Mapping[MarketId, UnixMs] = MappingProxyType({})


class Trigger(StrEnum):
    """Why a market is in a round; each is a metric label."""

    FIRST = "first"
    DEVIATION = "deviation"
    HEARTBEAT = "heartbeat"
    UNCONFIRMED = "unconfirmed"
    REQUEST = "request"
    EARLY = "early"


class TriggerSettings(Section):
    """When a price is posted."""

    deviation_ppm: int = Field(default=1_000, gt=0)
    heartbeat_s: int = Field(default=30, gt=0)
    # A market this far toward its own trigger joins a round that is going anyway: its bytes are
    # cheap there, and it does not need a round of its own a moment later.
    early_ratio: float = Field(default=0.5, gt=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What the chain has for one market."""

    price_e18: PriceE18
    observed_at_ms: UnixMs
    unconfirmed: bool


def due(
    marks: Mapping[MarketId, Mark],
    posted: Mapping[MarketId, Posted | None],
    settings: TriggerSettings,
    waiting: Mapping[MarketId, UnixMs] = NOBODY_WAITS,
) -> dict[MarketId, Trigger]:
    """Give the markets of the next round with their triggers; empty when none must go.

    `waiting`: the instant from which a market's price serves its waiting requests. Only a mark
    that is strictly newer than what the chain has can be in a round.
    """
    newer = {m: mark for m, mark in marks.items() if is_newer(mark, posted.get(m))}
    must = {
        m: found
        for m, mark in newer.items()
        if (found := trigger(mark, posted.get(m), settings, 1.0))
        or (found := asked_for(mark, posted.get(m), waiting.get(m)))
    }
    if not must:
        return {}
    ride = {
        m: Trigger.EARLY
        for m, mark in newer.items()
        if m not in must and trigger(mark, posted.get(m), settings, settings.early_ratio)
    }
    return dict(sorted((must | ride).items()))


def asked_for(mark: Mark, known: Posted | None, since_ms: UnixMs | None) -> Trigger | None:
    """Tell whether a request waits for a price that this mark is and the chain's is not."""
    if since_ms is None or mark.observed_at_ms < since_ms:
        return None
    served = known is not None and known.observed_at_ms >= since_ms
    return None if served else Trigger.REQUEST


def is_newer(mark: Mark, known: Posted | None) -> bool:
    """Tell whether the contract would take this observation for a newer one."""
    return known is None or mark.observed_at_ms > known.observed_at_ms


def trigger(
    mark: Mark, known: Posted | None, settings: TriggerSettings, share: float
) -> Trigger | None:
    """Name the first trigger that has gone at least `share` of its way, if any."""
    if known is None:
        return Trigger.FIRST
    if known.unconfirmed:
        return Trigger.UNCONFIRMED
    moved_ppm = abs(mark.price_e18 - known.price_e18) * PPM // known.price_e18
    if moved_ppm >= settings.deviation_ppm * share:
        return Trigger.DEVIATION
    if mark.observed_at_ms - known.observed_at_ms >= settings.heartbeat_s * 1_000 * share:
        return Trigger.HEARTBEAT
    return None
