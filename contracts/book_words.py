"""The engine's storage words and the values in them: a position, its account, its market, its pace.

Pure: decoding a word and encoding it again gives the same word. A closed position keeps nothing but
its version, which never starts again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final, NewType

from contracts.envelope import join_bits, split_bits
from contracts.margin import LONG, NO_RATIO, NOTHING, SHORT, SizeE18
from contracts.margin_pace import NEVER_MS, NEVER_S, Pace
from contracts.units import (
    USDC,
    LeverageE2,
    MarketId,
    Ppm,
    UnixMs,
    UnixS,
    UsdcE6,
    WholeUsdc,
)

Account = NewType("Account", int)
"""An address as the number that it is."""
PositionId = NewType("PositionId", int)
"""account << 24 | market << 8 | mode."""

NO_SIZE: Final = SizeE18(0)
NO_LEVERAGE: Final = LeverageE2(0)
ISOLATED: Final = 1
CROSS: Final = 2
MAX_CROSS: Final = 10
MAX_SIZE: Final = 2**120 - 1
MAX_COLLATERAL: Final = 2**64 - 1
MAX_PROMISED: Final = 2**28 - 1

_POSITION_BITS: Final = (120, 112, 16, 1, 1, 1)
_TERMS_BITS: Final = (64, 20, 20, 32, 44, 15)
_RAMP_BITS: Final = (20, 20, 40, 24, 6)
_ACCOUNT_BITS: Final = (64, 28, 4, *(16,) * MAX_CROSS)
_SIZES_BITS: Final = (120, 120)
_FLOW_BITS: Final = (112, 72, 40, 15, 15, 1, 1)
_RULES_BITS: Final = (16, 20, 20, 20, 20, 16, 20, 20, 24, 24, 24, 16, 16)
_PACE_BITS: Final = (64, 40, 44, 40, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """An `ADJUST` on its way; it stands still when its AI-input epoch ends."""

    from_ppm: Ppm
    target_ppm: Ppm
    begun_s: UnixS
    ramp_s: int
    ai_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position as it is stored: `cuts` of its side, and what they did, may be newer.

    `basis`: entry price less the funding index at entry. `collateral` is 0 in a cross account.
    """

    size: SizeE18 = NO_SIZE
    basis: int = 0
    leverage_e2: LeverageE2 = NO_LEVERAGE
    long: bool = False
    managed: bool = False
    collateral: UsdcE6 = NOTHING
    maintenance_ppm: Ppm = NO_RATIO
    ceiling_ppm: Ppm = NO_RATIO
    version: int = 0
    stamp_ms: UnixMs = NEVER_MS
    cuts: int = 0
    ramp: Ramp | None = None

    @property
    def side(self) -> int:
        """+1 long, −1 short."""
        return LONG if self.long else SHORT


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBook:
    """An account: the nonce of its last terms, fees promised, open cross markets, and its balance.

    The balance (USDC e6) is below 0 only while a cross position is open: a debt to the pool.
    """

    nonce: int = 0
    promised: UsdcE6 = NOTHING
    markets: tuple[MarketId, ...] = ()
    balance: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A market's funding and the numbers of its cuts."""

    index: int = 0
    rate: int = 0
    at_s: UnixS = NEVER_S
    long_cuts: int = 0
    short_cuts: int = 0
    settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRules:
    """What the owner sets for a market, in the order of the word."""

    fee_ppm: Ppm
    impact_ppm: Ppm
    funding_daily_ppm: Ppm
    interest_share_ppm: Ppm
    skew_share_ppm: Ppm
    penalty_min_ppm: Ppm
    penalty_max_ppm: Ppm
    cut_share_ppm: Ppm
    min_notional_usdc: WholeUsdc
    reward: UsdcE6
    execution_fee: UsdcE6
    liquidation_age_s: int
    band_ppm: Ppm

    @property
    def min_notional(self) -> UsdcE6:
        """The least that a position is worth."""
        return UsdcE6(self.min_notional_usdc * USDC)


def position_id(account: Account, market: MarketId, mode: int) -> PositionId:
    """Name a position."""
    return PositionId(account << 24 | market << 8 | mode)


def split_position_id(identity: PositionId) -> tuple[Account, MarketId, int]:
    """Give whose position it is, where, and in which mode."""
    return Account(identity >> 24), MarketId(identity >> 8 & 0xFFFF), identity & 0xFF


def account_number(address: str) -> Account:
    """Read an address in hex."""
    return Account(int(address, 16))


def encode_position(position: Position) -> tuple[int, int, int]:
    """Write a position's three words; the third is 0 where nothing is ramped."""
    if position.size == 0:
        return 0, position.version << 104, 0
    ramp = position.ramp
    flags = (int(position.long), int(position.managed), int(ramp is not None))
    first = (position.size, _unsigned(position.basis, 112), position.leverage_e2, *flags)
    second = (
        position.collateral,
        position.maintenance_ppm,
        position.ceiling_ppm,
        position.version,
        position.stamp_ms,
        position.cuts,
    )
    third = 0
    if ramp is not None:
        fields = (ramp.from_ppm, ramp.target_ppm, ramp.begun_s, ramp.ramp_s, ramp.ai_epoch)
        third = join_bits(fields, _RAMP_BITS)
    return join_bits(first, _POSITION_BITS), join_bits(second, _TERMS_BITS), third


def decode_position(words: Sequence[int]) -> Position:
    """Read a position's three words, as `MarginEngine.position` gives them."""
    size, basis, leverage, long, managed, adjusted = split_bits(words[0], _POSITION_BITS)
    collateral, maintenance, ceiling, version, stamp, cuts = split_bits(words[1], _TERMS_BITS)
    if size == 0:
        return Position(version=version)
    return Position(
        size=SizeE18(size),
        basis=_signed(basis, 112),
        leverage_e2=LeverageE2(leverage),
        long=bool(long),
        managed=bool(managed),
        collateral=UsdcE6(collateral),
        maintenance_ppm=Ppm(maintenance),
        ceiling_ppm=Ppm(ceiling),
        version=version,
        stamp_ms=UnixMs(stamp),
        cuts=cuts,
        ramp=_decode_ramp(words[2]) if adjusted else None,
    )


def _decode_ramp(word: int) -> Ramp:
    start, target, begun, ramp_s, epoch = split_bits(word, _RAMP_BITS)
    return Ramp(
        from_ppm=Ppm(start),
        target_ppm=Ppm(target),
        begun_s=UnixS(begun),
        ramp_s=ramp_s,
        ai_epoch=epoch,
    )


def encode_account(account: AccountBook) -> int:
    """Write an account's word; its balance stands apart."""
    count = len(account.markets)
    markets = (*account.markets, *(0,) * (MAX_CROSS - count))
    return join_bits((account.nonce, account.promised, count, *markets), _ACCOUNT_BITS)


def decode_account(word: int, balance: int) -> AccountBook:
    """Read what `MarginEngine.account` gives."""
    nonce, promised, count, *markets = split_bits(word, _ACCOUNT_BITS)
    return AccountBook(
        nonce=nonce,
        promised=UsdcE6(promised),
        markets=tuple(MarketId(market) for market in markets[:count]),
        balance=balance,
    )


def encode_sizes(long_size: SizeE18, short_size: SizeE18) -> int:
    """Write a market's open interest."""
    return join_bits((long_size, short_size), _SIZES_BITS)


def decode_sizes(word: int) -> tuple[SizeE18, SizeE18]:
    """Read a market's open interest: long, short."""
    long_size, short_size = split_bits(word, _SIZES_BITS)
    return SizeE18(long_size), SizeE18(short_size)


def encode_flow(flow: Flow) -> int:
    """Write a market's funding word."""
    numbers = (flow.at_s, flow.long_cuts, flow.short_cuts, 0, int(flow.settled))
    return join_bits((_unsigned(flow.index, 112), _unsigned(flow.rate, 72), *numbers), _FLOW_BITS)


def decode_flow(word: int) -> Flow:
    """Read a market's funding word."""
    index, rate, at, long_cuts, short_cuts, _, settled = split_bits(word, _FLOW_BITS)
    return Flow(
        index=_signed(index, 112),
        rate=_signed(rate, 72),
        at_s=UnixS(at),
        long_cuts=long_cuts,
        short_cuts=short_cuts,
        settled=bool(settled),
    )


def encode_rules(rules: MarketRules) -> int:
    """Write a market's rules."""
    return join_bits(astuple(rules), _RULES_BITS)


def decode_rules(word: int) -> MarketRules | None:
    """Read a market's rules; None where none were set."""
    if word == 0:
        return None
    fee, impact, funding, interest, skew, least, most, cut, *rest = split_bits(word, _RULES_BITS)
    min_notional, reward, execution_fee, age_s, band = rest
    return MarketRules(
        fee_ppm=Ppm(fee),
        impact_ppm=Ppm(impact),
        funding_daily_ppm=Ppm(funding),
        interest_share_ppm=Ppm(interest),
        skew_share_ppm=Ppm(skew),
        penalty_min_ppm=Ppm(least),
        penalty_max_ppm=Ppm(most),
        cut_share_ppm=Ppm(cut),
        min_notional_usdc=WholeUsdc(min_notional),
        reward=UsdcE6(reward),
        execution_fee=UsdcE6(execution_fee),
        liquidation_age_s=age_s,
        band_ppm=Ppm(band),
    )


def encode_pace(pace: Pace) -> int:
    """Write the liquidator's word of a market."""
    times = (pace.begun_s, pace.note_observed_ms, pace.note_s)
    return join_bits((pace.used, *times, int(pace.note_above)), _PACE_BITS)


def decode_pace(word: int) -> Pace:
    """Read the liquidator's word of a market."""
    used, begun, observed, noted, above = split_bits(word, _PACE_BITS)
    return Pace(
        used=UsdcE6(used),
        begun_s=UnixS(begun),
        note_observed_ms=UnixMs(observed),
        note_s=UnixS(noted),
        note_above=bool(above),
    )


def _signed(value: int, bits: int) -> int:
    """Read two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value


def _unsigned(value: int, bits: int) -> int:
    """Write two's complement; ValueError for what does not fit."""
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(f"{value} does not fit in {bits} signed bits")
    return value & ((1 << bits) - 1)
