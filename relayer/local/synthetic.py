"""What a candle file does not record, by stated rules: spread, book, trades, open interest.

All of it is synthetic and labelled so; the rules are in docs/local-world.md. Nothing here looks at
a bar that is not closed, except for the price that the walk has reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from relayer.local.seeds import signed, smooth, unit
from relayer.local.tape import BAR_MS, Spot, Tape

BASIS_POINT: Final = 1e-4
BIAS_BP: Final = 2.0  # a venue's prices stand off the recording by at most this, for good
WIGGLE_BP: Final = 1.0  # and its mid by at most this much more, from moment to moment
WIGGLE_MS: Final = 5_000
HALF_SPREAD_BP: Final = 0.5
SPREAD_OF_RANGE: Final = 0.02  # share of the last hour's mean minute range that the spread adds
LEVEL_BP: Final = 0.5
MAX_LEVELS: Final = 400
DEPTH_WITHIN_BP: Final = 10.0
DEPTH_MINUTES: Final = 0.5  # a minute's turnover that stands within 10 bp a side, in calm
CALM_RANGE_BP: Final = 50.0  # minute range at which the book has thinned to a half
TRADE_MS: Final = 1_000
OPEN_INTEREST_OF_DAY: Final = 0.35  # share of a day's volume
LIQUIDATING_MOVE: Final = 0.005
LIQUIDATED_SHARE: Final = 0.02  # of the minute's volume
_HOUR_BARS: Final = 60
_SOON_BARS: Final = 5
_DAY_BARS: Final = 1_440


@dataclass(frozen=True, slots=True, kw_only=True)
class TopOfBook:
    """Where a venue's mid and mark stand, and how wide it quotes."""

    mid: float
    mark: float
    last: float
    half_spread: float  # share of the mid
    range_bp: float  # mean range of the last hour's closed minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticTrade:
    """One made-up trade at a price that the walk passed."""

    at_ms: int
    price: float
    base_units: float
    buy: bool


def venue_bias(seed: int, venue: int, symbol: str) -> float:
    """Give the factor by which a venue's prices stand off the recording."""
    return 1 + BIAS_BP * BASIS_POINT * signed(seed, "bias", venue, symbol)


def top_of_book(tape: Tape, spot: Spot, seed: int, venue: int) -> TopOfBook:
    """Quote around the walked price; the mark wanders half as far as the mid."""
    traded = spot.price * venue_bias(seed, venue, tape.symbol)
    wiggle = WIGGLE_BP * BASIS_POINT
    wiggle *= smooth(spot.observed_ms, WIGGLE_MS, seed, "mid", venue, tape.symbol)
    width = range_bp(tape, spot)
    return TopOfBook(
        mid=traded * (1 + wiggle),
        mark=traded * (1 + wiggle / 2),
        last=traded,
        half_spread=BASIS_POINT * (HALF_SPREAD_BP + SPREAD_OF_RANGE * width),
        range_bp=width,
    )


def range_bp(tape: Tape, spot: Spot) -> float:
    """Give the mean range of the last hour's closed minutes, in basis points.

    Or that of the last five, where it is wider: a book thins at once and fills again slowly.
    """
    closed = tape.closed_before(spot.observed_ms)
    rows = slice(max(0, closed - _HOUR_BARS), closed)
    if rows.start == rows.stop:
        return 0.0
    ranges = tape.high[rows] / tape.low[rows] - 1
    return float(max(np.mean(ranges), np.mean(ranges[-_SOON_BARS:])) / BASIS_POINT)


def depth_per_bp(tape: Tape, spot: Spot, top: TopOfBook) -> float:
    """Give the base units that stand within one basis point of one side.

    Within 10 bp stands half a mean minute of the last hour's turnover, thinned in stress by
    1 ÷ (1 + range ÷ 50 bp).
    """
    closed = tape.closed_before(spot.observed_ms)
    rows = slice(max(0, closed - _HOUR_BARS), closed)
    minute = float(np.mean(tape.volume[rows])) if rows.start < rows.stop else 0.0
    return DEPTH_MINUTES * minute / DEPTH_WITHIN_BP / (1 + top.range_bp / CALM_RANGE_BP)


def recent_trades(tape: Tape, at_ms: int, bias: float, limit: int) -> list[SyntheticTrade]:
    """List one trade a second, newest first, each at the price that the walk had then."""
    latest = at_ms - at_ms % TRADE_MS
    trades = (_trade(tape, latest - step * TRADE_MS, bias) for step in range(limit))
    return [trade for trade in trades if trade is not None]


def last_liquidation(tape: Tape, at_ms: int, bias: float) -> SyntheticTrade | None:
    """Give the forced order of the last closed minute, if that moved far enough to force one.

    Against a move of 0.5 % or more, 2 % of the minute's volume is closed at its far extreme.
    """
    bar = tape.closed_before(at_ms) - 1
    if bar < 0:
        return None
    move = float(tape.close[bar] / tape.open[bar]) - 1
    if abs(move) < LIQUIDATING_MOVE:
        return None
    extreme = tape.high[bar] if move > 0 else tape.low[bar]
    return SyntheticTrade(
        at_ms=int(tape.open_ms[bar]) + BAR_MS,
        price=float(extreme) * bias,
        base_units=LIQUIDATED_SHARE * float(tape.volume[bar]),
        buy=move > 0,
    )


def open_interest(tape: Tape, at_ms: int) -> float:
    """Give base units: a stated share of the last day's recorded volume."""
    closed = tape.closed_before(at_ms)
    rows = slice(max(0, closed - _DAY_BARS), closed)
    return OPEN_INTEREST_OF_DAY * float(np.sum(tape.volume[rows]))


def _trade(tape: Tape, at_ms: int, bias: float) -> SyntheticTrade | None:
    """Make the trade of one second, where the market was live."""
    spot, before = tape.spot(at_ms), tape.spot(at_ms - TRADE_MS)
    if spot is None or not spot.live:
        return None
    rising = before is None or spot.price >= before.price
    share = 0.5 + unit(tape.symbol, "size", at_ms)
    return SyntheticTrade(
        at_ms=at_ms,
        price=spot.price * bias,
        base_units=float(tape.volume[spot.bar]) * TRADE_MS / BAR_MS * share,
        buy=rising,
    )
