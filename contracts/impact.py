"""What new parameters would do to open positions: who is brought toward liquidation by them.

Pure and integer, in the law's own arithmetic, for whoever proposes an update and whoever signs it.
Nothing but the maintenance ratio of a market reaches an open position, and only a managed one; so
a change costs where it raises the ratio at which a market's ramp ends. It is counted from the
ratio of now to that end, at the prices of now: what earlier changes have not asked yet is counted
with it, so that many small changes are not cheaper than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from contracts.book import Book
from contracts.book_margin import (
    CrossMargin,
    Standing,
    cross_standings,
    market_now,
    standing,
    sum_up,
)
from contracts.book_readings import Readings
from contracts.book_words import CROSS, Account, PositionId, split_position_id
from contracts.margin import NOTHING, is_liquidatable, notional_up
from contracts.risk_oracle import MarketState
from contracts.units import PPM, MarketId, Ppm, UsdcE6, ceil_div, ppm_ceil

NEAR_PPM: Final = Ppm(250_000)
"""By how much equity may exceed maintenance for an account to count as near liquidation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What changes of ratios come to, at the prices of now.

    `accounts` and `notional`: brought within the distance named of liquidation from further off, or
    all the way; of a cross account all that it holds. `liquidatable`: accounts of these that could
    be liquidated at once. `touched`: accounts of which more would be asked. `open_interest`: both
    sides of the markets concerned, up.
    """

    accounts: int = 0
    notional: UsdcE6 = NOTHING
    liquidatable: int = 0
    touched: int = 0
    open_interest: UsdcE6 = NOTHING

    @property
    def share_ppm(self) -> Ppm:
        """The notional brought near, of the open interest, up; cross accounts may exceed it."""
        if self.notional == 0:
            return Ppm(0)
        return Ppm(ceil_div(self.notional * PPM, max(1, self.open_interest)))


NO_IMPACT: Final = Impact()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stake:
    """An isolated position, or a cross account as one: how it stands before and after.

    Amounts in USDC e6. `name`: the position's number, or the account's.
    """

    name: int
    account: Account
    cross: bool
    equity: int
    maintenance_before: UsdcE6
    maintenance_after: UsdcE6
    notional: UsdcE6

    @property
    def is_touched(self) -> bool:
        """Tell whether more would be asked of it."""
        return self.maintenance_after > self.maintenance_before

    @property
    def is_lost(self) -> bool:
        """Tell whether the change alone would let it be liquidated."""
        before = is_liquidatable(self.equity, self.maintenance_before)
        return not before and is_liquidatable(self.equity, self.maintenance_after)

    def is_brought(self, near_ppm: Ppm) -> bool:
        """Tell whether the change brings it near liquidation from further off, or all the way."""
        line = Ppm(PPM + near_ppm)
        was_far = self.equity >= ppm_ceil(self.maintenance_before, line)
        is_near = self.equity < ppm_ceil(self.maintenance_after, line)
        return self.is_touched and ((was_far and is_near) or self.is_lost)


def end_ppm(state: MarketState) -> Ppm:
    """Give the ratio at which a market's ramp ends; where a revert holds it, it stays."""
    return state.ramp_from_ppm if state.held else state.target_maintenance_ppm


def rising(before: MarketState, after: MarketState) -> Ppm | None:
    """Give where the ramp would end, if that is above where it ends without the change.

    None: nothing that is open is asked for more by it. A renewal, a looser cap and whatever is for
    new risk alone (open interest, size scale, spread, reduce-only) are of that kind.
    """
    end = end_ppm(after)
    return end if end > end_ppm(before) else None


def impact_of(
    book: Book, readings: Readings, ends: Mapping[MarketId, Ppm], near_ppm: Ppm = NEAR_PPM
) -> Impact:
    """Count what it means that the ramps of some markets end at these ratios, all together.

    `ends` are those that `rising` gives. `Refused` where somebody stands in a market that was not
    read.
    """
    stakes = stakes_of(book, readings, ends)
    brought = [each for each in stakes if each.is_brought(near_ppm)]
    return Impact(
        accounts=len({each.account for each in brought}),
        notional=UsdcE6(sum(each.notional for each in brought)),
        liquidatable=len({each.account for each in stakes if each.is_lost}),
        touched=len({each.account for each in stakes}),
        open_interest=open_interest_of(book, readings, ends),
    )


def stakes_of(book: Book, readings: Readings, ends: Mapping[MarketId, Ppm]) -> tuple[Stake, ...]:
    """Give everything of which more would be asked, in the order of its name."""
    after = at_end(readings, ends)
    held = concerned(book, readings, ends)
    alone = {identity for identity in held if split_position_id(identity)[2] != CROSS}
    accounts = {split_position_id(identity)[0] for identity in held - alone}
    stakes = [_alone(book, readings, after, identity) for identity in sorted(alone)]
    stakes += [_together(book, readings, after, account) for account in sorted(accounts)]
    return tuple(each for each in stakes if each.is_touched)


def at_end(readings: Readings, ends: Mapping[MarketId, Ppm]) -> Readings:
    """Give the readings of now with markets' ramps at their ends."""
    markets = dict(readings.markets)
    for market, end in ends.items():
        reading = markets.get(market)
        if reading is not None:
            limits = replace(reading.limits, effective_maintenance_ppm=end)
            markets[market] = replace(reading, limits=limits)
    return replace(readings, markets=markets)


def concerned(
    book: Book, readings: Readings, ends: Mapping[MarketId, Ppm]
) -> frozenset[PositionId]:
    """Give the open positions whose own ratio may rise; the others need no look.

    A position's own `ADJUST` may ask for as much already: that is left to the exact look.
    """
    known = {market: readings.markets.get(market) for market in ends}
    live = {m: 0 if r is None else r.limits.effective_maintenance_ppm for m, r in known.items()}
    found = set()
    for identity, held in book.positions.items():
        market = MarketId(identity >> 8 & 0xFFFF)
        if not held.managed or held.size == 0 or market not in ends:
            continue
        asked = min(held.ceiling_ppm, max(held.maintenance_ppm, ends[market]))
        if asked > min(held.ceiling_ppm, max(held.maintenance_ppm, live[market])):
            found.add(identity)
    return frozenset(found)


def open_interest_of(book: Book, readings: Readings, markets: Iterable[MarketId]) -> UsdcE6:
    """Give both sides' open interest of some markets at the prices of now, up; 0 without rules."""
    total = 0
    for market in (each for each in markets if each in book.markets):
        now = market_now(book, readings, market)
        sides = (now.book.long.size, now.book.short.size)
        total += sum(notional_up(size, now.price) for size in sides)
    return UsdcE6(total)


def part_of(book: Book, readings: Readings, ends: Mapping[MarketId, Ppm]) -> Book:
    """Cut a book down to what `impact_of` looks at; it answers the same of the part.

    Of cross accounts that are concerned every cross position, and every market that these are in.
    """
    held = concerned(book, readings, ends)
    owners = [split_position_id(identity) for identity in held]
    crossed = {account for account, _, mode in owners if mode == CROSS}
    cross = {
        identity: position
        for identity, position in book.positions.items()
        if identity & 0xFF == CROSS and Account(identity >> 24) in crossed and position.size
    }
    positions = {identity: book.positions[identity] for identity in held} | cross
    markets = {MarketId(identity >> 8 & 0xFFFF) for identity in positions} | set(ends)
    return Book(
        positions={identity: positions[identity] for identity in sorted(positions)},
        accounts={account: book.account(account) for account in sorted(crossed)},
        markets={m: book.markets[m] for m in sorted(markets) if m in book.markets},
    )


def readings_in(readings: Readings, book: Book) -> Readings:
    """Give the readings of a book's own markets only."""
    held = {market: each for market, each in readings.markets.items() if market in book.markets}
    return replace(readings, markets=held)


def _alone(book: Book, before: Readings, after: Readings, identity: PositionId) -> Stake:
    """Look at an isolated position on both sides of the change."""
    was, will = standing(book, before, identity), standing(book, after, identity)
    return Stake(
        name=identity,
        account=split_position_id(identity)[0],
        cross=False,
        equity=was.equity,
        maintenance_before=was.maintenance,
        maintenance_after=will.maintenance,
        notional=was.notional,
    )


def _together(book: Book, before: Readings, after: Readings, account: Account) -> Stake:
    """Look at a cross account on both sides of the change."""
    was, will = _summed(book, before, account), _summed(book, after, account)
    return Stake(
        name=account,
        account=account,
        cross=True,
        equity=was.equity,
        maintenance_before=was.maintenance,
        maintenance_after=will.maintenance,
        notional=was.notional,
    )


def _summed(book: Book, readings: Readings, account: Account) -> CrossMargin:
    standings: tuple[Standing, ...] = cross_standings(book, readings, account)
    return sum_up(book.account(account).balance, standings)
