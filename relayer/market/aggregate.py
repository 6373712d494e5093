"""Make one mark of many venues' quotes, such that no minority of them can move it past the rest.

Rules and their sources: docs/market-data.md. Pure: quotes, a time and rules in, a value out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.units import PPM, MarketId, Ppm, PriceE18, UnixMs, ceil_div
from relayer.market.values import (
    E18,
    SETTLEMENT_CURRENCY,
    MarketDataError,
    Quote,
    QuoteRound,
    StablecoinQuote,
)

# 1.4826 makes the median absolute deviation estimate a normal standard deviation (Rousseeuw and
# Croux 1993, "Alternatives to the Median Absolute Deviation"); × 10^4, rounded up.
_MAD_TO_SIGMA_E4: Final = 14_827


class NoMarkReason(StrEnum):
    """Why a market has no mark now (closed set, a metric's label)."""

    TOO_FEW_VENUES = "too_few_venues"
    STALE = "stale"
    FROM_THE_FUTURE = "from_the_future"
    NOT_SIMULTANEOUS = "not_simultaneous"
    DISAGREE = "disagree"
    JUMP_UNCONFIRMED = "jump_unconfirmed"
    STABLECOIN_UNKNOWN = "stablecoin_unknown"
    STABLECOIN_OFF_PEG = "stablecoin_off_peg"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationRules:
    """What a mark asks of its quotes."""

    minimum_venues: int = 2
    stale_after_ms: int = 5_000  # by the exchange's own stamp
    future_tolerance_ms: int = 1_000  # exchange clocks run ahead of ours by less
    simultaneous_within_ms: int = 1_000  # of the median stamp: a snapshot is of one moment
    maximum_deviation_ppm: int = 20_000  # from the median, beyond which a venue is excluded
    minimum_confidence_ppm: int = 50  # the contract's unit of confidence
    peg_low_e18: int = 98 * E18 // 100
    peg_high_e18: int = 102 * E18 // 100

    def __post_init__(self) -> None:
        """Refuse rules under which one venue alone would make a mark."""
        if self.minimum_venues < 2:
            raise MarketDataError("minimum_venues must be at least 2: one venue proves nothing")
        if not 0 < self.maximum_deviation_ppm < PPM:
            raise MarketDataError("maximum_deviation_ppm must lie between 0 and 1,000,000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One market's price in USDC, how far the venues differ, and how old the oldest vote is."""

    market: MarketId
    price_e18: PriceE18
    confidence_ppm: Ppm
    observed_at_ms: UnixMs  # of the oldest quote used
    venues: tuple[str, ...]  # whose quotes agree
    excluded: tuple[str, ...]  # fresh, but too far from the median


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMark:
    """Why a market has no mark now."""

    market: MarketId
    reason: NoMarkReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionRate:
    """USDC for one unit of a currency, × 10^18, with the stamp of its oldest vote."""

    currency: str
    value_e18: int
    observed_at_ms: UnixMs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vote:
    """One venue's value in USDC × 10^18, with half its spread."""

    venue: str
    value_e18: int
    half_spread_ppm: int
    observed_at_ms: int  # the older of its own stamp and the conversion rate's
    stamped_at_ms: int  # its own: a rate's older stamp must not hide a clock that runs ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """Why votes make no value."""

    reason: NoMarkReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agreed:
    """The votes' median, and who stands near it."""

    value_e18: int
    near: tuple[_Vote, ...]
    far: tuple[_Vote, ...]


def aggregate(
    quotes: Sequence[Quote],
    now_ms: int,
    rules: AggregationRules,
    rates: Mapping[str, ConversionRate | NoMark] | None = None,
) -> Mark | NoMark:
    """Make one market's mark of its quotes; `rates` convert what is not quoted in USDC."""
    if not quotes:
        raise MarketDataError("aggregate needs the quotes of one market; use aggregate_round")
    market = quotes[0].market
    if any(quote.market != market for quote in quotes):
        raise MarketDataError("aggregate takes the quotes of one market at a time")
    known = rates or {}
    votes, refusals = [], []
    for quote in quotes:
        rate = _rate_of(quote.quote_currency, known)
        if isinstance(rate, _Refused):
            refusals.append(rate)
        else:
            votes.append(_vote(quote, rate))
    if refusals and len(votes) < rules.minimum_venues:
        return NoMark(market=market, reason=refusals[0].reason, detail=refusals[0].detail)
    agreed = _agree(votes, now_ms, rules)
    if isinstance(agreed, _Refused):
        return NoMark(market=market, reason=agreed.reason, detail=agreed.detail)
    return _mark(market, agreed, rules)


def aggregate_round(
    taken: QuoteRound, markets: Sequence[MarketId], now_ms: int, rules: AggregationRules
) -> dict[MarketId, Mark | NoMark]:
    """Make the marks of one tick; every market asked for has an answer."""
    rates = conversion_rates(taken.stablecoins, now_ms, rules)
    by_market: dict[MarketId, list[Quote]] = {market: [] for market in markets}
    for quote in taken.quotes:
        if quote.market in by_market:
            by_market[quote.market].append(quote)
    return {
        market: aggregate(quotes, now_ms, rules, rates) if quotes else _unquoted(market, rules)
        for market, quotes in by_market.items()
    }


def conversion_rates(
    quotes: Sequence[StablecoinQuote], now_ms: int, rules: AggregationRules
) -> dict[str, ConversionRate | NoMark]:
    """Make each stablecoin's rate by the same rules as a mark; off its peg it is none."""
    rates: dict[str, ConversionRate | NoMark] = {}
    for currency in sorted({quote.currency for quote in quotes}):
        votes = [
            _Vote(
                venue=quote.venue,
                value_e18=quote.value_e18,
                half_spread_ppm=0,
                observed_at_ms=quote.observed_at_ms,
                stamped_at_ms=quote.observed_at_ms,
            )
            for quote in quotes
            if quote.currency == currency
        ]
        rates[currency] = _rate(currency, _agree(votes, now_ms, rules), rules)
    return rates


def _rate(
    currency: str, agreed: _Agreed | _Refused, rules: AggregationRules
) -> ConversionRate | NoMark:
    """Turn a stablecoin's median into its rate, inside the peg only."""
    no_market = MarketId(0)  # a rate belongs to no market; `aggregate` names the market it fails
    if isinstance(agreed, _Refused):
        detail = f"{currency}/USDC: {agreed.detail}"
        return NoMark(market=no_market, reason=NoMarkReason.STABLECOIN_UNKNOWN, detail=detail)
    if not rules.peg_low_e18 <= agreed.value_e18 <= rules.peg_high_e18:
        detail = f"{currency}/USDC is {agreed.value_e18 / E18:.4f}"
        return NoMark(market=no_market, reason=NoMarkReason.STABLECOIN_OFF_PEG, detail=detail)
    oldest = min(vote.observed_at_ms for vote in agreed.near)
    return ConversionRate(
        currency=currency, value_e18=agreed.value_e18, observed_at_ms=UnixMs(oldest)
    )


def _rate_of(
    currency: str, rates: Mapping[str, ConversionRate | NoMark]
) -> ConversionRate | _Refused | None:
    """Find the rate for a quote currency: None when it needs none."""
    if currency == SETTLEMENT_CURRENCY:
        return None
    rate = rates.get(currency)
    if rate is None:
        detail = f"no venue quotes {currency}/{SETTLEMENT_CURRENCY}"
        return _Refused(reason=NoMarkReason.STABLECOIN_UNKNOWN, detail=detail)
    if isinstance(rate, NoMark):
        return _Refused(reason=rate.reason, detail=rate.detail)
    return rate


def _vote(quote: Quote, rate: ConversionRate | None) -> _Vote:
    """Turn a quote into a vote in USDC; the conversion rounds down, by less than 1e-18 USDC."""
    value, observed = quote.value_e18, int(quote.observed_at_ms)
    if rate is not None:
        value = value * rate.value_e18 // E18
        observed = min(observed, rate.observed_at_ms)
    spread = (quote.ask_e18 - quote.bid_e18) * PPM
    return _Vote(
        venue=quote.venue,
        value_e18=value,
        half_spread_ppm=ceil_div(spread, quote.ask_e18 + quote.bid_e18),
        observed_at_ms=observed,
        stamped_at_ms=quote.observed_at_ms,
    )


def _agree(votes: Sequence[_Vote], now_ms: int, rules: AggregationRules) -> _Agreed | _Refused:
    """Take the median of the votes that are fresh and of one moment, if a majority stands by it.

    The median is over all of them, also those that stand far off: only so is it inside the honest
    range whatever a minority says. Being far off costs a venue its say in time and confidence.
    """
    fresh = _fresh(votes, now_ms, rules)
    if isinstance(fresh, _Refused):
        return fresh
    together = _simultaneous(fresh, rules)
    if len(together) < rules.minimum_venues or 2 * len(together) <= len(fresh):
        detail = f"{len(together)} of {len(fresh)} are of one moment"
        return _Refused(reason=NoMarkReason.NOT_SIMULTANEOUS, detail=detail)
    middle = median([vote.value_e18 for vote in together])
    limit = rules.maximum_deviation_ppm * middle
    near = tuple(vote for vote in together if abs(vote.value_e18 - middle) * PPM <= limit)
    far = tuple(vote for vote in together if abs(vote.value_e18 - middle) * PPM > limit)
    if len(near) < rules.minimum_venues or 2 * len(near) <= len(together):
        spoken = ", ".join(f"{vote.venue} {vote.value_e18 / E18:.8g}" for vote in together)
        return _Refused(reason=NoMarkReason.DISAGREE, detail=spoken)
    return _Agreed(value_e18=middle, near=near, far=far)


def _fresh(
    votes: Sequence[_Vote], now_ms: int, rules: AggregationRules
) -> tuple[_Vote, ...] | _Refused:
    """Keep votes that are neither stale nor from the future, if enough remain."""
    oldest, newest = now_ms - rules.stale_after_ms, now_ms + rules.future_tolerance_ms
    fresh = tuple(v for v in votes if oldest <= v.observed_at_ms and v.stamped_at_ms <= newest)
    if len(fresh) >= rules.minimum_venues:
        return fresh
    if len(votes) < rules.minimum_venues:
        detail = f"{len(votes)} of at least {rules.minimum_venues} answered"
        return _Refused(reason=NoMarkReason.TOO_FEW_VENUES, detail=detail)
    ahead = any(vote.stamped_at_ms > newest for vote in votes)
    ages = ", ".join(f"{vote.venue} {now_ms - vote.stamped_at_ms} ms old" for vote in votes)
    reason = NoMarkReason.FROM_THE_FUTURE if ahead else NoMarkReason.STALE
    return _Refused(reason=reason, detail=ages)


def _simultaneous(votes: Sequence[_Vote], rules: AggregationRules) -> tuple[_Vote, ...]:
    """Keep the votes within the window around the median stamp.

    Around the median stamp, not the newest: it lies inside the honest venues' stamps, so no
    minority whose clocks are wrong can push an honest vote out.
    """
    moment = median([vote.stamped_at_ms for vote in votes])
    width = rules.simultaneous_within_ms
    return tuple(vote for vote in votes if abs(vote.stamped_at_ms - moment) <= width)


def _mark(market: MarketId, agreed: _Agreed, rules: AggregationRules) -> Mark:
    """Make the mark, its confidence and its time of the votes that agree."""
    return Mark(
        market=market,
        price_e18=PriceE18(agreed.value_e18),
        confidence_ppm=_confidence(agreed, rules),
        observed_at_ms=UnixMs(min(vote.observed_at_ms for vote in agreed.near)),
        venues=tuple(vote.venue for vote in agreed.near),
        excluded=tuple(vote.venue for vote in agreed.far),
    )


def _confidence(agreed: _Agreed, rules: AggregationRules) -> Ppm:
    """Give 1.4826 × the median absolute deviation plus the median half spread, rounded up."""
    deviations = [
        ceil_div(abs(vote.value_e18 - agreed.value_e18) * PPM, agreed.value_e18)
        for vote in agreed.near
    ]
    dispersion = ceil_div(_upper_median(deviations) * _MAD_TO_SIGMA_E4, 10_000)
    spread = _upper_median([vote.half_spread_ppm for vote in agreed.near])
    return Ppm(max(rules.minimum_confidence_ppm, dispersion + spread))


def median(values: Sequence[int]) -> int:
    """Give the middle value; of an even number the mean of the two middle ones, rounded down."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) // 2


def _upper_median(values: Sequence[int]) -> int:
    """Give the middle value, of an even number the larger one: rounded toward doubt."""
    return sorted(values)[len(values) // 2]


def _unquoted(market: MarketId, rules: AggregationRules) -> NoMark:
    """Say that no venue answered for a market."""
    detail = f"0 of at least {rules.minimum_venues} answered"
    return NoMark(market=market, reason=NoMarkReason.TOO_FEW_VENUES, detail=detail)
