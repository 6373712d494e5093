"""What a perpetual has beside its price: funding, open interest and leverage tiers. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.units import PPM, MarketId, UnixMs
from relayer.errors import BadAnswer
from relayer.market.parsing import reading
from relayer.market.tapes import in_base_units
from relayer.market.values import HOUR_MS, MINUTE_MS, Listing, price_e18

_UNITS_MS: Final = {"m": MINUTE_MS, "h": HOUR_MS, "d": 24 * HOUR_MS}
# A rate beyond 25 % a period is none: Kraken's limit, the widest of the venues that are configured.
MOST_FUNDING: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """What longs pay shorts, as a share of the position × 10^18 a period; negative: they get it."""

    venue: str
    market: MarketId
    rate_e18: int
    period_ms: int | None  # None where the venue does not say: then not comparable
    observed_at_ms: UnixMs | None  # None where the venue gives no stamp

    @property
    def hourly_e18(self) -> int | None:
        """The rate of one hour, rounded down: venues differ in their periods."""
        return None if self.period_ms is None else self.rate_e18 * HOUR_MS // self.period_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInterest:
    """How many base units × 10^18 are open at a venue."""

    venue: str
    market: MarketId
    size_e18: int
    value: float | None  # in the quote currency, where the venue says it itself
    observed_at_ms: UnixMs | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverageTier:
    """One step of a venue's own limits: up to this notional, this maintenance and leverage."""

    largest_notional: float  # in the settlement currency; infinity in the last tier
    maintenance_ppm: int
    max_leverage_e2: int


@reading("funding")
def parse_funding(listing: Listing, market: MarketId, raw: Mapping[str, Any]) -> Funding:
    """Make a funding rate of ccxt's; raises BadAnswer when it is none."""
    rate = raw["fundingRate"]
    if not isinstance(rate, int | float) or not math.isfinite(rate) or abs(rate) > MOST_FUNDING:
        raise BadAnswer(f"{listing.symbol}: funding {rate}")
    return Funding(
        venue=listing.venue,
        market=market,
        rate_e18=price_e18(rate),
        period_ms=period_ms(raw.get("interval")),
        observed_at_ms=_stamp(raw),
    )


@reading("open interest")
def parse_open_interest(
    listing: Listing, market: MarketId, raw: Mapping[str, Any], contract_size: float
) -> OpenInterest:
    """Make an open interest of ccxt's, which counts contracts; raises BadAnswer when it is none."""
    amount, value = raw["openInterestAmount"], raw.get("openInterestValue")
    if not isinstance(amount, int | float) or not math.isfinite(amount) or amount < 0:
        raise BadAnswer(f"{listing.symbol}: open interest {amount}")
    usable = isinstance(value, int | float) and math.isfinite(value) and value >= 0
    return OpenInterest(
        venue=listing.venue,
        market=market,
        size_e18=in_base_units(amount, listing, contract_size),
        value=float(value) if usable and value is not None else None,
        observed_at_ms=_stamp(raw),
    )


@reading("leverage tiers")
def parse_tiers(rows: Sequence[Mapping[str, Any]]) -> tuple[LeverageTier, ...]:
    """Make tiers of ccxt's, smallest first; raises BadAnswer when they do not rise.

    Maintenance must not fall and leverage must not rise with size; a tier that says otherwise is
    either misread or not a tier.
    """
    tiers = tuple(sorted((_tier(row) for row in rows), key=lambda tier: tier.largest_notional))
    for small, large in itertools.pairwise(tiers):
        if large.maintenance_ppm < small.maintenance_ppm:
            raise BadAnswer("maintenance falls with size")
        if large.max_leverage_e2 > small.max_leverage_e2:
            raise BadAnswer("leverage rises with size")
    return tiers


def period_ms(text: object) -> int | None:
    """Read ccxt's name of a period, as in 8h."""
    if not isinstance(text, str) or not text[:-1].isdigit() or text[-1:] not in _UNITS_MS:
        return None
    return int(text[:-1]) * _UNITS_MS[text[-1]] or None


def _tier(row: Mapping[str, Any]) -> LeverageTier:
    """Read one tier."""
    largest, maintenance, leverage = (
        row["maxNotional"],
        row["maintenanceMarginRate"],
        row["maxLeverage"],
    )
    if not 0 < maintenance < 1 or not leverage >= 1:
        raise BadAnswer(f"maintenance {maintenance}, leverage {leverage}")
    return LeverageTier(
        largest_notional=math.inf if largest is None else float(largest),
        maintenance_ppm=math.ceil(maintenance * PPM),
        max_leverage_e2=math.floor(leverage * 100),
    )


def _stamp(raw: Mapping[str, Any]) -> UnixMs | None:
    """Take the exchange's own time, where it gives one."""
    stamp = raw.get("timestamp")
    return UnixMs(stamp) if isinstance(stamp, int) else None
