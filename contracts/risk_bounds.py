"""The bounds of a class of markets in RiskOracle, and how far one update may move a value in them.

Pure, integer, and bit for bit what contracts/RiskOracle.vy does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Final, NamedTuple

from contracts.envelope import join_bits, split_bits
from contracts.packing import (
    RISK_WORD_BITS,
    SPREAD_UNIT_PPM,
    RiskFields,
    expand_amount,
    pack_amount,
    split_risk_word,
)
from contracts.refusals import Refusal
from contracts.units import PPM, LeverageE2, Ppm, WholeUsdc, is_coherent

VALIDITY_UNIT_S: Final = 10
DRIFT_UNIT_PPM: Final = 1_000
MIN_NOTICE_S: Final = 300
DAY_S: Final = 86_400

_BOUNDS_BITS: Final = (16, 16, 20, 16, 16, 10, 1, 16, 20, 6, 2, 12, 20, 20, 10, 16, 17, 10)
_GAPS: Final = (6, 10)  # zero bits in the word, so that bounds stand where the values stand
_AMOUNT_LIMIT: Final = 2**16 - 1
_SPREAD_LIMIT: Final = 2**10 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassBounds:
    """What the owner allows the markets of one class, in the order of the packed word.

    `floor_maintenance_ppm`: through-the-cycle floor of fixed positions. `profit_share_ppm`: share
    of unrealised profit that may carry new positions. A step may be `tighten_ppm` or `loosen_ppm`
    of the last accepted value, or the absolute `min_step_*` where that is more. `daily_drift_ppm`:
    most that loosening may add up to within any 24 hours.
    """

    min_cap_e2: LeverageE2
    max_cap_e2: LeverageE2
    floor_maintenance_ppm: Ppm
    max_open_interest_cap_usdc: WholeUsdc
    min_size_scale_usdc: WholeUsdc
    max_spread_ppm: Ppm
    notice_s: int
    profit_share_ppm: Ppm
    min_step_spread_ppm: Ppm
    max_validity_s: int
    tighten_ppm: Ppm
    loosen_ppm: Ppm
    min_step_cap_e2: LeverageE2
    min_step_amount_usdc: WholeUsdc
    loosen_delay_s: int
    daily_drift_ppm: Ppm

    def fault(self) -> str | None:
        """Say which field the contract would refuse (CLASS_RULES_INVALID), or None."""
        checks = {
            "min_cap_e2": 100 <= self.min_cap_e2 <= self.max_cap_e2,
            "max_cap_e2": self.max_cap_e2 < _AMOUNT_LIMIT,
            "floor_maintenance_ppm": 0 < self.floor_maintenance_ppm <= PPM // 2,
            "profit_share_ppm": self.profit_share_ppm <= PPM,
            "max_open_interest_cap_usdc": self.max_open_interest_cap_usdc > 0,
            "min_size_scale_usdc": self.min_size_scale_usdc > 0,
            "max_spread_ppm": self.max_spread_ppm < _SPREAD_LIMIT * SPREAD_UNIT_PPM,
            "notice_s": MIN_NOTICE_S <= self.notice_s < 2**16 - 1,
            "max_validity_s": self.max_validity_s >= VALIDITY_UNIT_S,
            "tighten_ppm": 0 < self.tighten_ppm <= PPM,
            "loosen_ppm": 0 < self.loosen_ppm <= PPM,
            "min_step_cap_e2": self.min_step_cap_e2 > 0,
            "min_step_amount_usdc": self.min_step_amount_usdc > 0,
            "min_step_spread_ppm": self.min_step_spread_ppm >= SPREAD_UNIT_PPM,
            "loosen_delay_s": self.loosen_delay_s > 0,
            "daily_drift_ppm": self.daily_drift_ppm >= 2 * DRIFT_UNIT_PPM,
        }
        return next((name for name, holds in checks.items() if not holds), None)


# Each field's unit in the packed word: (to the word, from the word).
_Codec = tuple[Callable[[int], int], Callable[[int], int]]


def _unit(size: int) -> _Codec:
    """Count in a unit, rounded down."""
    return (lambda value: value // size), (lambda bits: bits * size)


_PLAIN: Final = _unit(1)
_AMOUNT: Final[_Codec] = (lambda value: pack_amount(WholeUsdc(value)), expand_amount)
_SPREAD: Final = _unit(SPREAD_UNIT_PPM)
_CODECS: Final[tuple[_Codec, ...]] = (
    *(_PLAIN,) * 3,
    *(_AMOUNT,) * 2,
    _SPREAD,
    *(_PLAIN,) * 2,
    _SPREAD,
    _unit(VALIDITY_UNIT_S),
    *(_PLAIN,) * 3,
    _AMOUNT,
    _PLAIN,
    _unit(DRIFT_UNIT_PPM),
)


def encode_bounds(bounds: ClassBounds) -> int:
    """Pack bounds for `set_class`; what the word's units cannot hold is rounded down."""
    pairs = zip(astuple(bounds), _CODECS, strict=True)
    fields = [encode(value) for value, (encode, _) in pairs]
    for gap in _GAPS:
        fields.insert(gap, 0)
    return join_bits(fields, _BOUNDS_BITS)


def decode_bounds(word: int) -> ClassBounds:
    """Read packed bounds, as `RiskOracle.bounds` gives them."""
    fields = split_bits(word, _BOUNDS_BITS)
    kept = [bits for index, bits in enumerate(fields) if index not in _GAPS]
    names = ClassBounds.__dataclass_fields__
    values = zip(names, kept, _CODECS, strict=True)
    decoded: dict[str, int] = {name: decode(bits) for name, bits, (_, decode) in values}
    return ClassBounds(**decoded)  # type: ignore[arg-type]  # NewTypes over int, in field order


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The signed values of one market."""

    cap_e2: LeverageE2
    open_interest_cap_usdc: WholeUsdc
    size_scale_usdc: WholeUsdc
    spread_ppm: Ppm
    reduce_only: bool


_VALUE_BITS: Final = (16, 16, 16, 10, 1)


def decode_values(bits: int) -> Values:
    """Read the 59 bits of a slot that hold a market's values."""
    cap, open_interest, scale, spread, reduce_only = split_bits(bits, _VALUE_BITS)
    return Values(
        cap_e2=LeverageE2(cap),
        open_interest_cap_usdc=WholeUsdc(expand_amount(open_interest)),
        size_scale_usdc=WholeUsdc(expand_amount(scale)),
        spread_ppm=Ppm(spread * SPREAD_UNIT_PPM),
        reduce_only=bool(reduce_only),
    )


def encode_values(values: Values) -> int:
    """Write a market's values as a slot holds them."""
    fields = (
        values.cap_e2,
        pack_amount(values.open_interest_cap_usdc),
        pack_amount(values.size_scale_usdc),
        values.spread_ppm // SPREAD_UNIT_PPM,
        int(values.reduce_only),
    )
    return join_bits(fields, _VALUE_BITS)


def values_of(fields: RiskFields) -> Values:
    """Read a word's values."""
    packed = (
        fields.cap_e2,
        fields.open_interest_cap,
        fields.size_scale,
        fields.spread,
        fields.reduce_only,
    )
    return decode_values(join_bits(packed, _VALUE_BITS))


def tighter(a: Values, b: Values) -> Values:
    """Give of each field the tighter one; wider is tighter for the spread."""
    return Values(
        cap_e2=min(a.cap_e2, b.cap_e2),
        open_interest_cap_usdc=min(a.open_interest_cap_usdc, b.open_interest_cap_usdc),
        size_scale_usdc=min(a.size_scale_usdc, b.size_scale_usdc),
        spread_ppm=max(a.spread_ppm, b.spread_ppm),
        reduce_only=a.reduce_only or b.reduce_only,
    )


def looser(a: Values, b: Values) -> Values:
    """Give of each field the looser one; narrower is looser for the spread."""
    return Values(
        cap_e2=max(a.cap_e2, b.cap_e2),
        open_interest_cap_usdc=max(a.open_interest_cap_usdc, b.open_interest_cap_usdc),
        size_scale_usdc=max(a.size_scale_usdc, b.size_scale_usdc),
        spread_ppm=min(a.spread_ppm, b.spread_ppm),
        reduce_only=a.reduce_only and b.reduce_only,
    )


def _is_canonical(bits: int) -> bool:
    return bits < 2**11 or bool(bits & 2**10)


def misfit(word: int, bounds: ClassBounds) -> Refusal | None:
    """Judge an item by itself: canonical, coherent, inside its class's bounds."""
    fields = split_risk_word(word)
    amounts = (fields.open_interest_cap, fields.size_scale)
    if word >> RISK_WORD_BITS or not all(_is_canonical(bits) for bits in amounts):
        return Refusal.NOT_CANONICAL
    if not is_coherent(fields.cap_e2, fields.maintenance_ppm):
        return Refusal.TUPLE_INCOHERENT
    values = values_of(fields)
    if not bounds.min_cap_e2 <= values.cap_e2 <= bounds.max_cap_e2:
        return Refusal.CAP_OUT_OF_BOUNDS
    if not 0 < values.open_interest_cap_usdc <= bounds.max_open_interest_cap_usdc:
        return Refusal.OPEN_INTEREST_CAP_OUT_OF_BOUNDS
    too_small = values.size_scale_usdc < bounds.min_size_scale_usdc
    if too_small or fields.size_scale == _AMOUNT_LIMIT:
        return Refusal.SIZE_SCALE_OUT_OF_BOUNDS
    if values.spread_ppm > bounds.max_spread_ppm:
        return Refusal.SPREAD_OUT_OF_BOUNDS
    if 0 < fields.ramp_s < bounds.notice_s:
        return Refusal.RAMP_TOO_SHORT
    return None


class Move(NamedTuple):
    """One field's move, in the field's unit in the word (whole USDC for amounts).

    `outside`: the old value is more than the class's bound, which was narrowed since.
    """

    old: int
    new: int
    loosens: bool
    least: int
    refusal: Refusal
    outside: bool

    @property
    def size(self) -> int:
        """How far it goes."""
        return abs(self.new - self.old)

    @property
    def relative_ppm(self) -> int | None:
        """Its share of the last accepted value, rounded down; None out of 0."""
        return self.size * PPM // self.old if self.old else None


def moves(old: Values, new: Values, bounds: ClassBounds) -> tuple[Move, ...]:
    """List the fields that move, in the order of the word; reduce_only has no step."""
    amount = bounds.min_step_amount_usdc
    spreads = (old.spread_ppm // SPREAD_UNIT_PPM, new.spread_ppm // SPREAD_UNIT_PPM)
    least_spread = bounds.min_step_spread_ppm // SPREAD_UNIT_PPM
    interests = (old.open_interest_cap_usdc, new.open_interest_cap_usdc)
    scales = (old.size_scale_usdc, new.size_scale_usdc)
    caps = (old.cap_e2, new.cap_e2)
    cap_outside = old.cap_e2 > bounds.max_cap_e2
    interest_outside = old.open_interest_cap_usdc > bounds.max_open_interest_cap_usdc
    fields: tuple[tuple[int, int, int, int, Refusal, bool], ...] = (
        (*caps, 1, bounds.min_step_cap_e2, Refusal.CAP_STEP_TOO_LARGE, cap_outside),
        (*interests, 1, amount, Refusal.OPEN_INTEREST_CAP_STEP_TOO_LARGE, interest_outside),
        (*scales, 1, amount, Refusal.SIZE_SCALE_STEP_TOO_LARGE, False),
        (*spreads, -1, least_spread, Refusal.SPREAD_STEP_TOO_LARGE, False),
    )
    return tuple(
        Move(before, after, (after - before) * up > 0, least, refusal, outside)
        for before, after, up, least, refusal, outside in fields
        if before != after
    )


def _step_ppm(move: Move, bounds: ClassBounds) -> Ppm:
    return bounds.loosen_ppm if move.loosens else bounds.tighten_ppm


def is_step(move: Move, bounds: ClassBounds) -> bool:
    """Tell whether a move is within one step, relative or absolute, of the last accepted value.

    Out of bounds that were narrowed since, a tightening may go as far as it must.
    """
    if move.outside and not move.loosens:
        return True
    relative = move.relative_ppm
    small = relative is not None and relative <= _step_ppm(move, bounds)
    return small or move.size <= move.least


def charge_ppm(move: Move, bounds: ClassBounds) -> int:
    """Give what a loosening takes of the drift budget: its relative size, rounded down.

    A move that only the absolute minimum allows counts as one whole relative step.
    """
    return min(move.relative_ppm or bounds.loosen_ppm, bounds.loosen_ppm)


def drift_capacity(bounds: ClassBounds) -> int:
    """Give what the drift bucket holds, in 0.1 %: half of the day's budget."""
    return bounds.daily_drift_ppm // DRIFT_UNIT_PPM // 2


def drift_left(used: int, since_s: int, bounds: ClassBounds) -> int:
    """Give what of the used drift (0.1 %) still counts so long after the last accepted change.

    The bucket holds half a day's budget and empties at half a budget a day, rounded down: in any
    24 hours at most the whole budget goes in.
    """
    return max(0, used - since_s * drift_capacity(bounds) // DAY_S)


def judge_change(
    old: Values, new: Values, bounds: ClassBounds, drift_used: int, since_s: int
) -> int | Refusal:
    """Judge a change against the last accepted values: the drift used after it, or the refusal.

    `since_s`: seconds since the last accepted change. Tightening steps are judged first, then
    loosening ones. Refusal is an int too: ask isinstance first.
    """
    for move in sorted(moves(old, new, bounds), key=lambda move: move.loosens):
        if not is_step(move, bounds):
            return move.refusal
    used = drift_left(drift_used, since_s, bounds)
    charge = loosening_ppm(old, new, bounds)
    if not charge:
        return used
    if since_s < bounds.loosen_delay_s:
        return Refusal.TOO_SOON
    used += 1 + charge // DRIFT_UNIT_PPM  # up to more than itself
    return used if used <= drift_capacity(bounds) else Refusal.DRIFT_SPENT


def loosening_ppm(old: Values, new: Values, bounds: ClassBounds) -> int:
    """Give the largest relative loosening of a change; 0 when nothing loosens."""
    charges = [charge_ppm(move, bounds) for move in moves(old, new, bounds) if move.loosens]
    return max([*charges, int(old.reduce_only and not new.reduce_only)])
