"""PriceFeed in Python, bit for bit: what a slot holds, and what a round makes of it.

Pure and integer. The price loop plans with it, the signers judge with it, the read-back compares
with it. A hypothesis test holds it and contracts/PriceFeed.vy together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from contracts.envelope import (
    EPOCH_MS,
    Configuration,
    Freshness,
    join_bits,
    judge_batch,
    split_bits,
)
from contracts.messages import PriceRound
from contracts.packing import (
    CONFIDENCE_UNIT_PPM,
    PRICE_WORD_BITS,
    UNTOUCHED,
    PriceHalf,
    split_price_word,
)
from contracts.refusals import Refusal, Skip
from contracts.units import MS_PER_S, MarketId, Ppm, PriceE18, UnixMs, UnixS

FRESHNESS: Final = Freshness(max_age_ms=60_000, max_validity_ms=120_000)
AVERAGE_MS: Final = 300_000
MAX_BAND_PPB: Final = 500_000_000
MAX_CLASS: Final = 7

_PPB: Final = 10**9
_RULE_BITS: Final = (16, 24, 12, 24, 17)
_HALF_BITS: Final = (32, 6, 34, 12, 40, 3, 1)
_SLOT_HALF_BITS: Final = 128
_LOWEST_MANTISSA: Final = 2**31
_HIGHEST_MANTISSA: Final = 2**32 - 1
_HIGHEST_EXPONENT: Final = 2**6 - 1
_HIGHEST_CONFIDENCE: Final = 2**12 - 1
_HIGHEST_AVERAGE: Final = 2**34 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRules:
    """How the markets of one class may be priced.

    A price may move f(t) = r·t + (r·t)² of itself, r = `rate_ppm_per_s`, t the observation time
    since the last accepted price; from `window_ms` on it may be anything.
    """

    rate_ppm_per_s: int
    window_ms: int
    max_age_ms: int
    max_confidence_ppm: Ppm
    new_risk_age_ms: int

    def fault(self) -> str | None:
        """Say why the contract would refuse these rules (CLASS_RULES_INVALID), or None."""
        if not 0 < self.rate_ppm_per_s * self.window_ms <= MAX_BAND_PPB:
            return f"rate_ppm_per_s × window_ms must be 1 … {MAX_BAND_PPB}"
        if not (self.max_age_ms and self.max_confidence_ppm and self.new_risk_age_ms):
            return "max_age_ms, max_confidence_ppm and new_risk_age_ms must be above 0"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPrice:
    """Half a slot: one market's last accepted price. Mantissa 0: none yet.

    `average` is in the price's own unit, 2^exponent; `confidence` in units of 50 ppm;
    `observed_at_ms` is EPOCH_MS before the first price.
    """

    mantissa: int
    exponent: int
    average: int
    confidence: int
    observed_at_ms: UnixMs
    class_id: int
    unconfirmed: bool

    @property
    def has_price(self) -> bool:
        """Whether a price was ever accepted."""
        return self.mantissa != 0

    @property
    def price_e18(self) -> PriceE18:
        """The last accepted price; 0 before the first."""
        return PriceE18(self.mantissa << self.exponent)

    @property
    def average_e18(self) -> PriceE18:
        """The five-minute average, saturating at four times the price."""
        return PriceE18(self.average << self.exponent)

    @property
    def confidence_ppm(self) -> Ppm:
        """Half-width of what the price may be."""
        return Ppm(self.confidence * CONFIDENCE_UNIT_PPM)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """What a round depends on and changes."""

    config: Configuration
    latest_round: int
    rules: Mapping[int, ClassRules]
    markets: tuple[MarketPrice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """The feed after a round, the items that were left aside, and the markets whose gap it ended.

    `PriceFeed.resumed_at` of those is the time of the round's block.
    """

    state: FeedState
    skipped: tuple[Skip, ...]
    resumed: frozenset[MarketId]


def decode_rules(word: int) -> ClassRules:
    """Read a class's packed rules, as `PriceFeed.rules` gives them."""
    rate, window, confidence, new_risk_age, age = split_bits(word, _RULE_BITS)
    return ClassRules(
        rate_ppm_per_s=rate,
        window_ms=window,
        max_age_ms=age,
        max_confidence_ppm=Ppm(confidence * CONFIDENCE_UNIT_PPM),
        new_risk_age_ms=new_risk_age,
    )


def encode_rules(rules: ClassRules) -> int:
    """Pack a class's rules for `set_class`; the confidence limit is rounded down, toward safety."""
    confidence = rules.max_confidence_ppm // CONFIDENCE_UNIT_PPM
    return join_bits(
        (
            rules.rate_ppm_per_s,
            rules.window_ms,
            confidence,
            rules.new_risk_age_ms,
            rules.max_age_ms,
        ),
        _RULE_BITS,
    )


def decode_slot(word: int) -> tuple[MarketPrice | None, MarketPrice | None]:
    """Read a slot: markets 2 × slot and 2 × slot + 1; None for one that was never added."""
    low, high = split_bits(word, (_SLOT_HALF_BITS, _SLOT_HALF_BITS))
    return _decode_half(low), _decode_half(high)


def encode_slot(low: MarketPrice | None, high: MarketPrice | None) -> int:
    """Write a slot as the contract stores it."""
    return _encode_half(low) | _encode_half(high) << _SLOT_HALF_BITS


def decode_markets(slots: Sequence[int], market_count: int) -> tuple[MarketPrice, ...]:
    """Read all markets from the slots that `PriceFeed.slots(0, n)` gives."""
    halves = [half for slot in slots for half in decode_slot(slot)][:market_count]
    markets = tuple(half for half in halves if half is not None)
    if len(markets) != market_count:
        raise ValueError(f"{len(markets)} markets in the slots, {market_count} in the contract")
    return markets


def _decode_half(half: int) -> MarketPrice | None:
    mantissa, exponent, average, confidence, observed, class_id, flag = split_bits(half, _HALF_BITS)
    if class_id == 0:
        return None
    return MarketPrice(
        mantissa=mantissa,
        exponent=exponent,
        average=average,
        confidence=confidence,
        observed_at_ms=UnixMs(observed + EPOCH_MS),
        class_id=class_id,
        unconfirmed=bool(flag),
    )


def _encode_half(market: MarketPrice | None) -> int:
    if market is None:
        return 0
    values = (
        market.mantissa,
        market.exponent,
        market.average,
        market.confidence,
        market.observed_at_ms - EPOCH_MS,
        market.class_id,
        int(market.unconfirmed),
    )
    return join_bits(values, _HALF_BITS)


def allowed_move_ppb(rules: ClassRules, elapsed_ms: int) -> int | None:
    """Give the largest relative move accepted so long after the last price; None: any."""
    if elapsed_ms >= rules.window_ms:
        return None
    reach = rules.rate_ppm_per_s * elapsed_ms
    return reach + reach * reach // _PPB


def apply_price(
    market: MarketPrice,
    offered: PriceHalf,
    round_observed_at_ms: UnixMs,
    now_s: UnixS,
    rules: ClassRules,
) -> tuple[MarketPrice, Refusal | None]:
    """Judge one market's offered price: the state after it, and why it was skipped, if it was.

    A price outside the band is skipped and leaves a mark: the market is unconfirmed after it.
    """
    refusal = _judge_form(offered)
    if refusal:
        return market, refusal
    observed_at_ms = UnixMs(round_observed_at_ms - offered.age_ms)
    if observed_at_ms <= market.observed_at_ms:
        return market, Refusal.OLDER_OBSERVATION
    if observed_at_ms + rules.max_age_ms < now_s * MS_PER_S:
        return market, Refusal.ITEM_TOO_OLD
    elapsed_ms = observed_at_ms - market.observed_at_ms
    if market.has_price and not _within_band(market, offered, elapsed_ms, rules):
        return replace(market, unconfirmed=True), Refusal.OUT_OF_BAND
    accepted = MarketPrice(
        mantissa=offered.mantissa,
        exponent=offered.exponent,
        average=_average(market, offered, elapsed_ms),
        confidence=offered.confidence,
        observed_at_ms=observed_at_ms,
        class_id=market.class_id,
        unconfirmed=False,
    )
    return accepted, None


def _judge_form(offered: PriceHalf) -> Refusal | None:
    if offered.mantissa < _LOWEST_MANTISSA:
        return Refusal.NOT_CANONICAL
    limits = ((_HIGHEST_MANTISSA, _HIGHEST_EXPONENT), (_LOWEST_MANTISSA, 0))
    if (
        offered.mantissa,
        offered.exponent,
    ) in limits or offered.confidence == _HIGHEST_CONFIDENCE:
        return Refusal.AT_ABSOLUTE_LIMIT
    return None


def _within_band(
    market: MarketPrice, offered: PriceHalf, elapsed_ms: int, rules: ClassRules
) -> bool:
    allowed = allowed_move_ppb(rules, elapsed_ms)
    if allowed is None:
        return True
    move = abs((offered.mantissa << offered.exponent) - market.price_e18)
    return move * _PPB <= market.price_e18 * allowed


def _average(market: MarketPrice, offered: PriceHalf, elapsed_ms: int) -> int:
    """Weigh in the price that was in force, for the time it was; the new one counts for none yet.

    Rounded down once, in the new price's unit; saturating at four times the price.
    """
    if not market.has_price:
        return offered.mantissa
    weight = min(elapsed_ms, AVERAGE_MS)
    total = market.average * (AVERAGE_MS - weight) + market.mantissa * weight
    return min(((total << market.exponent) // AVERAGE_MS) >> offered.exponent, _HIGHEST_AVERAGE)


def may_carry_new_risk(market: MarketPrice, rules: ClassRules, now_s: UnixS) -> bool:
    """Tell whether a position may be opened, or margin withdrawn, at this market's price now."""
    return (
        market.has_price
        and not market.unconfirmed
        and market.confidence_ppm <= rules.max_confidence_ppm
        and is_fresh(market, rules, now_s)
    )


def is_fresh(market: MarketPrice, rules: ClassRules, now_s: UnixS) -> bool:
    """Tell whether an observation is young enough for new risk."""
    return market.observed_at_ms + rules.new_risk_age_ms >= now_s * MS_PER_S


def ended_gap(before: MarketPrice, after: MarketPrice) -> bool:
    """Tell whether an accepted price ended a gap; the first price ends none."""
    return before.has_price and after.observed_at_ms - before.observed_at_ms > AVERAGE_MS


def apply_round(state: FeedState, message: PriceRound, now_s: UnixS) -> RoundResult | Refusal:
    """Do what `post_round` does with a properly signed round in a block of `now_s`."""
    refusal = judge_batch(message, state.latest_round, now_s, FRESHNESS)
    if refusal:
        return refusal
    markets = list(state.markets)
    skipped: list[Skip] = []
    resumed: set[MarketId] = set()
    for word in message.words:
        fields = split_price_word(word)
        if word >> PRICE_WORD_BITS or not word >> 16:
            skipped.append(Skip(market=MarketId(2 * fields.slot), refusal=Refusal.NOT_CANONICAL))
            continue
        for side, offered in enumerate((fields.low, fields.high)):
            market = MarketId(2 * fields.slot + side)
            before = markets[market] if market < len(markets) else None
            reason = _apply_half(state, markets, market, offered, (message.observed_at_ms, now_s))
            if reason:
                skipped.append(Skip(market=market, refusal=reason))
            elif before and ended_gap(before, markets[market]):
                resumed.add(market)
    after = replace(state, latest_round=message.round, markets=tuple(markets))
    return RoundResult(state=after, skipped=tuple(skipped), resumed=frozenset(resumed))


def _apply_half(
    state: FeedState,
    markets: list[MarketPrice],
    market: MarketId,
    offered: PriceHalf,
    times: tuple[UnixMs, UnixS],
) -> Refusal | None:
    if offered == UNTOUCHED:
        return None
    if market >= len(markets):
        return Refusal.UNKNOWN_MARKET
    rules = state.rules[markets[market].class_id]
    markets[market], refusal = apply_price(markets[market], offered, *times, rules)
    return refusal
