"""What the index adds up to: what traders are owed and owe, and the sizes that they hold.

Everything is added up anew each time, exactly, in arrays: a million positions take a twentieth of a
second, and between two blocks of them whatever else is waiting has its turn.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from contracts.book import MarketBook
from contracts.book_action import after_cuts
from contracts.book_words import CROSS, PositionId
from contracts.pool import PoolState
from contracts.units import MarketId
from relayer.chain.index import Index
from relayer.chain.index_columns import AccountColumns, Numbers, PositionColumns, cuts_by_side

AT_ONCE = 1_000  # positions that a cut has not reached, between two breaths


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the contracts' totals have to be; `held` is what positions come to by market and side.

    Cuts of a side that a position has not been touched by since count as applied to it.
    """

    credited: int
    debts: int
    pool: PoolState
    markets: Mapping[MarketId, MarketBook]
    held: Mapping[tuple[MarketId, int], int]


async def sums_of(index: Index) -> Sums:
    """Add an index up; it must not be moved on meanwhile."""
    markets = index.markets()
    waiting = (each.request for each in index.requests())
    credited = sum(each.margin + each.fee for each in waiting if each.mode != CROSS)
    credited += sum(each.pot for each in markets.values())
    debts = 0
    for _, rows in index.ledger.accounts.blocks():
        owed, owing = AccountColumns(rows).balances()
        credited, debts = credited + owed, debts + owing
        await asyncio.sleep(0)
    held: Counter[tuple[MarketId, int]] = Counter()
    for begun, rows in index.ledger.positions.blocks():
        columns = PositionColumns(rows)
        credited += columns.collateral_sum
        reached = columns.open & (columns.cuts == cuts_by_side(columns, markets))
        held.update(columns.sizes_by_side(reached))
        await asyncio.sleep(0)
        await _add_late(held, index, begun + np.flatnonzero(columns.open & ~reached))
    return Sums(credited=credited, debts=debts, pool=index.pool(), markets=markets, held=held)


async def _add_late(held: Counter[tuple[MarketId, int]], index: Index, places: Numbers) -> None:
    """Add positions as the cuts of their side have left them, in the law's integers."""
    markets, rows = index.markets(), index.ledger.positions
    for number, place in enumerate(places, 1):
        identity = PositionId(rows.key(int(place)))
        market, position = MarketId(identity >> 8 & 0xFFFF), index.position(identity)
        after, _ = after_cuts(position, markets[market].side(position.side))
        held[market, position.side] += after.size
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
