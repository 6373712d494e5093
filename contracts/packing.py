"""The words of a PriceRound and a RiskUpdate: what a value becomes in a few bits, and back.

Fields stand in a word from its least significant bit upward, in the order of the layouts below;
the bits above them are 0. Roundings, each toward safety, with the bound of what they lose:

==============  ==============================  =========  =======================================
value           in the word                     rounded    lost
==============  ==============================  =========  =======================================
price_e18       mantissa 32 << exponent 6       down       less than 2^-31 of it; confidence is
                                                           what protects, not this rounding
confidence_ppm  12 bits of 50 ppm               up         less than 50 ppm
age of a price  16 bits of 1 ms                 exact      nothing; 65,536 ms and more is refused
amount (USDC)   mantissa 11 << exponent 5       down       less than 2^-10 of it
spread_ppm      10 bits of 20 ppm               up         less than 20 ppm
==============  ==============================  =========  =======================================

A number has one canonical form: the largest mantissa, so that packed numbers sort as their values.
A value at the absolute limit of its field is refused in both directions: a clamped encoder makes
those, and a clamped number says nothing about the world.

`split_*` and `join_*` move bits and judge nothing, for mirrors of the contracts and for tests of
their refusals; `pack_*` and `unpack_*` take and give only what is valid, and are inverses there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from contracts.units import (
    MAX_CAP_E2,
    MAX_MARKET,
    ONE_X,
    PPM,
    LawError,
    LeverageE2,
    MarketId,
    Ppm,
    PriceE18,
    UnixMs,
    WholeUsdc,
    ceil_div,
    int_fault,
)

PRICE_MANTISSA_BITS: Final = 32
PRICE_EXPONENT_BITS: Final = 6
AMOUNT_MANTISSA_BITS: Final = 11
AMOUNT_EXPONENT_BITS: Final = 5
CONFIDENCE_UNIT_PPM: Final = 50
SPREAD_UNIT_PPM: Final = 20

_HALF_BITS: Final = (PRICE_MANTISSA_BITS, PRICE_EXPONENT_BITS, 12, 16)  # as PriceHalf lists them
_PRICE_BITS: Final = (16, sum(_HALF_BITS), sum(_HALF_BITS))  # slot, low half, high half
_RISK_BITS: Final = (16, 16, 20, 16, 16, 10, 1, 16)  # as RiskFields lists them
# Planner, signers and read-back take the same words apart within one turn: a turn of 200 markets.
WORDS_REMEMBERED: Final = 1_024
PRICE_WORD_BITS: Final = sum(_PRICE_BITS)
RISK_WORD_BITS: Final = sum(_RISK_BITS)

MAX_UNIX_MS: Final = UnixMs(2**64 - 1)  # uint64 in every message
MAX_AGE_MS: Final = 2**16 - 1
MAX_CONFIDENCE_PPM: Final = Ppm((2**12 - 2) * CONFIDENCE_UNIT_PPM)  # all ones is the limit
MAX_SPREAD_PPM: Final = Ppm((2**10 - 2) * SPREAD_UNIT_PPM)
MAX_RAMP_S: Final = 2**16 - 2
_LOWEST_PRICE: Final = 2 ** (PRICE_MANTISSA_BITS - 1)
_HIGHEST_PRICE: Final = (2**PRICE_MANTISSA_BITS - 1) << (2**PRICE_EXPONENT_BITS - 1)
_HIGHEST_AMOUNT: Final = (2**AMOUNT_MANTISSA_BITS - 1) << (2**AMOUNT_EXPONENT_BITS - 1)
MIN_PRICE_E18: Final = PriceE18(_LOWEST_PRICE + 1)
MAX_PRICE_E18: Final = PriceE18(_HIGHEST_PRICE - 1)
MAX_AMOUNT_USDC: Final = WholeUsdc(_HIGHEST_AMOUNT - 1)


class PackingError(LawError):
    """A value that has no word, or a word that no value makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceQuote:
    """One market's price, as it goes into a round or comes out of one."""

    market: MarketId
    price_e18: PriceE18
    confidence_ppm: Ppm
    observed_at_ms: UnixMs

    def __post_init__(self) -> None:
        """Refuse what no price word can hold, and a price that floors to the lowest one."""
        _check("market", self.market, 0, MAX_MARKET)
        _check("price_e18", self.price_e18, MIN_PRICE_E18, MAX_PRICE_E18)
        _check("confidence_ppm", self.confidence_ppm, 0, MAX_CONFIDENCE_PPM)
        _check("observed_at_ms", self.observed_at_ms, 0, MAX_UNIX_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketParameters:
    """One market's parameters, as they go into an update or come out of one.

    `ramp_s` 0 means the notice period of the market's class. Coherence of cap and maintenance is
    not asked here: a proposal that lacks it must be told apart, by name, where it is judged.
    """

    market: MarketId
    cap_e2: LeverageE2
    maintenance_ppm: Ppm
    open_interest_cap_usdc: WholeUsdc
    size_scale_usdc: WholeUsdc
    spread_ppm: Ppm
    reduce_only: bool
    ramp_s: int

    def __post_init__(self) -> None:
        """Refuse what no risk word can hold, and each field's absolute limit."""
        _check("market", self.market, 0, MAX_MARKET)
        _check("cap_e2", self.cap_e2, ONE_X, MAX_CAP_E2 - 1)
        _check("maintenance_ppm", self.maintenance_ppm, 1, PPM)
        _check("open_interest_cap_usdc", self.open_interest_cap_usdc, 0, MAX_AMOUNT_USDC)
        _check("size_scale_usdc", self.size_scale_usdc, 1, MAX_AMOUNT_USDC)
        _check("spread_ppm", self.spread_ppm, 0, MAX_SPREAD_PPM)
        _check("ramp_s", self.ramp_s, 0, MAX_RAMP_S)
        if type(self.reduce_only) is not bool:
            raise PackingError(f"reduce_only is {self.reduce_only!r}; give True or False")


def _check(name: str, value: object, low: int, high: int) -> None:
    fault = int_fault(value, low, high)
    if fault:
        raise PackingError(f"{name} {fault}")


class PriceHalf(NamedTuple):
    """One market's bits in a price word, unjudged; mantissa 0 leaves the market untouched."""

    mantissa: int
    exponent: int
    confidence: int
    age_ms: int


class PriceWord(NamedTuple):
    """A price word's bits: markets 2 × slot and 2 × slot + 1."""

    slot: int
    low: PriceHalf
    high: PriceHalf


class RiskFields(NamedTuple):
    """A risk word's bits, unjudged: the two amounts as 16 bits, the spread in its unit."""

    market: int
    cap_e2: int
    maintenance_ppm: int
    open_interest_cap: int
    size_scale: int
    spread: int
    reduce_only: int
    ramp_s: int


UNTOUCHED: Final = PriceHalf(0, 0, 0, 0)


def _split(word: int, widths: Sequence[int]) -> list[int]:
    """Cut a word into fields from its lowest bit upward, ignoring what is above the last."""
    values = []
    for bits in widths:
        values.append(word & ((1 << bits) - 1))
        word >>= bits
    return values


def _join(values: Sequence[int], widths: Sequence[int]) -> int:
    """Put fields side by side from the lowest bit upward; refuse one that does not fit."""
    word = shift = 0
    for index, (value, bits) in enumerate(zip(values, widths, strict=True)):
        _check(f"field {index}", value, 0, 2**bits - 1)
        word |= value << shift
        shift += bits
    return word


@lru_cache(maxsize=WORDS_REMEMBERED)
def split_price_word(word: int) -> PriceWord:
    """Cut a price word into its bits; judge nothing, ignore bits above the highest field."""
    slot, low, high = _split(word, _PRICE_BITS)
    return PriceWord(
        slot, PriceHalf(*_split(low, _HALF_BITS)), PriceHalf(*_split(high, _HALF_BITS))
    )


def join_price_word(fields: PriceWord) -> int:
    """Put a price word together from bits, valid or not."""
    halves = (_join(fields.low, _HALF_BITS), _join(fields.high, _HALF_BITS))
    return _join((fields.slot, *halves), _PRICE_BITS)


@lru_cache(maxsize=WORDS_REMEMBERED)
def split_risk_word(word: int) -> RiskFields:
    """Cut a risk word into its bits; judge nothing, ignore bits above the highest field."""
    return RiskFields(*_split(word, _RISK_BITS))


def join_risk_word(fields: RiskFields) -> int:
    """Put a risk word together from bits, valid or not."""
    return _join(fields, _RISK_BITS)


def _float_floor(value: int, mantissa_bits: int) -> tuple[int, int]:
    """Give the largest mantissa and its exponent with mantissa << exponent at most `value`."""
    exponent = max(0, value.bit_length() - mantissa_bits)
    return value >> exponent, exponent


def split_price(price_e18: PriceE18) -> tuple[int, int]:
    """Give a price's canonical mantissa and exponent, rounded down by less than 2^-31 of it."""
    _check("price_e18", price_e18, MIN_PRICE_E18, MAX_PRICE_E18)
    return _float_floor(price_e18, PRICE_MANTISSA_BITS)


def join_price(mantissa: int, exponent: int) -> PriceE18:
    """Give the price of a mantissa and exponent; refuse other forms and the absolute limits."""
    _check("mantissa", mantissa, _LOWEST_PRICE, 2**PRICE_MANTISSA_BITS - 1)
    _check("exponent", exponent, 0, 2**PRICE_EXPONENT_BITS - 1)
    _check("price_e18", mantissa << exponent, MIN_PRICE_E18, MAX_PRICE_E18)
    return PriceE18(mantissa << exponent)


def round_down_price(price_e18: PriceE18) -> PriceE18:
    """Give the price that a word would carry."""
    return join_price(*split_price(price_e18))


def pack_amount(amount_usdc: WholeUsdc) -> int:
    """Give an amount's canonical 16 bits, rounded down by less than 2^-10 of it."""
    _check("amount_usdc", amount_usdc, 0, MAX_AMOUNT_USDC)
    mantissa, exponent = _float_floor(amount_usdc, AMOUNT_MANTISSA_BITS)
    return mantissa | exponent << AMOUNT_MANTISSA_BITS


def expand_amount(bits: int) -> int:
    """Give what 16 bits amount to, canonical or not, as the contract computes it."""
    mantissa, exponent = _split(bits, (AMOUNT_MANTISSA_BITS, AMOUNT_EXPONENT_BITS))
    return mantissa << exponent


def unpack_amount(bits: int) -> WholeUsdc:
    """Give the amount of canonical 16 bits; refuse other forms and the absolute limit."""
    _check("amount", bits, 0, 2**16 - 2)
    amount = WholeUsdc(expand_amount(bits))
    if pack_amount(amount) != bits:
        raise PackingError(f"amount {bits:#06x} is not canonical; encode {amount} with pack_amount")
    return amount


def round_down_amount(amount_usdc: WholeUsdc) -> WholeUsdc:
    """Give the amount that a word would carry."""
    return unpack_amount(pack_amount(amount_usdc))


def _pack_half(quote: PriceQuote, observed_at_ms: UnixMs) -> PriceHalf:
    age_ms = observed_at_ms - quote.observed_at_ms
    _check(f"age in ms of market {quote.market}", age_ms, 0, MAX_AGE_MS)
    confidence = ceil_div(quote.confidence_ppm, CONFIDENCE_UNIT_PPM)
    return PriceHalf(*split_price(quote.price_e18), confidence, age_ms)


def pack_price_words(quotes: Iterable[PriceQuote], observed_at_ms: UnixMs) -> tuple[int, ...]:
    """Pack quotes of different markets, two markets a word, in ascending order of slots.

    `observed_at_ms` is the round's: no quote may be later, or more than 65,535 ms earlier.
    """
    _check("observed_at_ms", observed_at_ms, 0, MAX_UNIX_MS)
    slots: dict[int, list[PriceHalf]] = {}
    for quote in sorted(quotes, key=lambda quote: quote.market):
        slot, half = divmod(quote.market, 2)
        halves = slots.setdefault(slot, [UNTOUCHED, UNTOUCHED])
        if halves[half] != UNTOUCHED:
            raise PackingError(f"market {quote.market} is quoted twice; keep one quote a market")
        halves[half] = _pack_half(quote, observed_at_ms)
    return tuple(join_price_word(PriceWord(slot, *halves)) for slot, halves in slots.items())


def unpack_price_words(words: Sequence[int], observed_at_ms: UnixMs) -> tuple[PriceQuote, ...]:
    """Give the quotes of words as `pack_price_words` makes them, in ascending order of markets."""
    _check("observed_at_ms", observed_at_ms, 0, MAX_UNIX_MS)
    quotes: list[PriceQuote] = []
    for word in words:
        found = _unpack_price_word(word, observed_at_ms)
        if quotes and found[0].market // 2 <= quotes[-1].market // 2:
            raise PackingError(f"market {found[0].market} is out of order; sort words by slot")
        quotes += found
    return tuple(quotes)


@lru_cache(maxsize=WORDS_REMEMBERED)
def _unpack_price_word(word: int, observed_at_ms: UnixMs) -> tuple[PriceQuote, ...]:
    _check("word", word, 0, 2**PRICE_WORD_BITS - 1)
    slot, *halves = split_price_word(word)
    quotes = [
        PriceQuote(
            market=MarketId(2 * slot + index),
            price_e18=join_price(half.mantissa, half.exponent),
            confidence_ppm=Ppm(half.confidence * CONFIDENCE_UNIT_PPM),
            observed_at_ms=UnixMs(observed_at_ms - half.age_ms),
        )
        for index, half in enumerate(halves)
        if half != UNTOUCHED
    ]
    if not quotes:
        raise PackingError(f"the word of slot {slot} touches no market; leave it out")
    return tuple(quotes)


def pack_risk_word(parameters: MarketParameters) -> int:
    """Pack one market's parameters: amounts rounded down, the spread up."""
    fields = RiskFields(
        market=parameters.market,
        cap_e2=parameters.cap_e2,
        maintenance_ppm=parameters.maintenance_ppm,
        open_interest_cap=pack_amount(parameters.open_interest_cap_usdc),
        size_scale=pack_amount(parameters.size_scale_usdc),
        spread=ceil_div(parameters.spread_ppm, SPREAD_UNIT_PPM),
        reduce_only=int(parameters.reduce_only),
        ramp_s=parameters.ramp_s,
    )
    return join_risk_word(fields)


@lru_cache(maxsize=WORDS_REMEMBERED)
def unpack_risk_word(word: int) -> MarketParameters:
    """Give the parameters of a word as `pack_risk_word` makes it."""
    _check("word", word, 0, 2**RISK_WORD_BITS - 1)
    fields = split_risk_word(word)
    return MarketParameters(
        market=MarketId(fields.market),
        cap_e2=LeverageE2(fields.cap_e2),
        maintenance_ppm=Ppm(fields.maintenance_ppm),
        open_interest_cap_usdc=unpack_amount(fields.open_interest_cap),
        size_scale_usdc=unpack_amount(fields.size_scale),
        spread_ppm=Ppm(fields.spread * SPREAD_UNIT_PPM),
        reduce_only=bool(fields.reduce_only),
        ramp_s=fields.ramp_s,
    )
