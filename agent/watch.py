"""The positions at risk at each price: screened in float, decided by the law, the rest untouched.

`Watch` follows the index by what changed in it. A tick costs a search in each market, and the
law's exact integers for what the search finds. What changed since the last sort waits apart and
is looked at each time; past a number, the market is sorted anew, between ticks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.watch_screen import Columns, CrossColumns, Holders, Ladder, Place
from contracts.book import Book
from contracts.book_action import after_cuts
from contracts.book_margin import Health, MarketNow, health, market_now
from contracts.book_readings import Readings
from contracts.book_words import CROSS, Account, Position, PositionId, split_position_id
from contracts.margin import LONG, SHORT, is_liquidatable
from contracts.units import PPM, MarketId, UsdcE6
from relayer.chain.index import Index, cross_identities
from relayer.chain.index_ledger import Key, Table

SORT_AFTER: Final = 512  # positions that changed: then sorting is cheaper than looking at each
FAR: Final = 0.01  # a move past which cross accounts are measured from where the market is now
Side = tuple[MarketId, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a market's order was made under; another one asks for a new order."""

    bound_ppm: int
    live: bool
    cuts: tuple[int, int]
    settled: bool


class Watch:
    """Ladders of isolated positions and holders of cross ones, over one index."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._columns: dict[Side, tuple[NDArray[np.object_], Columns]] = {}
        self._ladders: dict[Side, Ladder] = {}
        self._cross: tuple[list[Account], CrossColumns] | None = None
        self._holders: Holders | None = None
        self._bases: dict[MarketId, Basis] = {}
        self._fresh: dict[MarketId, set[PositionId]] = {}
        self._crossed: set[Account] = set()
        self._fresh_accounts: set[Account] = set()
        self.take(_all_keys(index))

    def take(self, changed: Iterable[Key]) -> None:
        """Note what changed in the index."""
        for table, key in changed:
            if table is Table.POSITION:
                account, market, mode = split_position_id(PositionId(key))
                if mode == CROSS:
                    self._take_account(account)
                else:
                    self._fresh.setdefault(market, set()).add(PositionId(key))
            elif table is Table.ACCOUNT:
                self._take_account(Account(key))

    def candidates(self, now: Mapping[MarketId, MarketNow]) -> tuple[PositionId, ...]:
        """Give every position that may be liquidatable at these prices, and few others.

        Of a cross account, all its positions.
        """
        self.prepare(now)
        found: set[PositionId] = set()
        accounts = set(self._fresh_accounts)
        for market, each in now.items():
            price, index = float(each.price), float(each.index)
            fresh = self._fresh.get(market, set())
            for long in (True, False):
                ladder = self._ladders.get((market, long))
                reached = ladder.reached(price, index) if ladder else []
                found.update(PositionId(key) for key in reached if key not in fresh)
            found.update(key for key in fresh if self._index.position(key).size)
            if self._holders is not None:
                accounts.update(Account(a) for a in self._holders.reached(market, price, index))
        for account in accounts & self._crossed:
            found.update(cross_identities(account, self._index.account(account)))
        return tuple(sorted(found))

    def prepare(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Sort anew what no longer holds: pauses, freshness, ratios or cuts are others now."""
        again = False
        for market, each in now.items():
            basis, before = basis_of(each), self._bases.get(market)
            if before == basis:
                continue
            again = True
            if before is None or before.cuts != basis.cuts:
                self._load(each)
                self._cross = None
            self._sort(each)
            self._bases[market] = basis
        if self._cross is None:
            self._load_cross(now)
        if again:
            self._sort_cross(now)

    def tidy(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Sort anew what costs more to look at than to sort: for the time between two prices."""
        for market, each in now.items():
            if len(self._fresh.get(market, ())) > SORT_AFTER:
                self._load(each)
                self._sort(each)
        many = len(self._fresh_accounts) > SORT_AFTER
        if many:
            self._load_cross(now)
        if many or any(self._is_far(each) for each in now.values()):
            self._sort_cross(now)

    def _is_far(self, now: MarketNow) -> bool:
        place = self._holders.places.get(now.market) if self._holders else None
        return place is not None and place.moved(float(now.price), float(now.index)) > FAR

    def _take_account(self, account: Account) -> None:
        has_open = bool(self._index.account(account).markets)
        (self._crossed.add if has_open else self._crossed.discard)(account)
        self._fresh_accounts.add(account)

    def _load(self, now: MarketNow) -> None:
        """Put one market's isolated positions into columns, as the index has them now."""
        market = now.market
        known = (ids for (where, _), (ids, _) in self._columns.items() if where == market)
        every = {PositionId(key) for ids in known for key in ids} | self._fresh.pop(market, set())
        rows: dict[bool, list[tuple[PositionId, Position]]] = {True: [], False: []}
        for identity in every:
            held = isolated_after_cuts(self._index.position(identity), now)
            if held.size:
                rows[held.long].append((identity, held))
        for long, each in rows.items():
            ids = np.empty(len(each), dtype=object)
            ids[:] = [identity for identity, _ in each]
            self._columns[market, long] = (ids, columns_of([held for _, held in each]))

    def _sort(self, now: MarketNow) -> None:
        """Put one market's isolated positions into the order of their fatal prices."""
        at = (basis_of(now).bound_ppm / PPM, float(now.index))
        for long in (True, False):
            ids, columns = self._columns[now.market, long]
            self._ladders[now.market, long] = Ladder(ids, columns, at, long=long)
        self._fresh.setdefault(now.market, set())

    def _load_cross(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Put all cross accounts into columns, as the index has them now."""
        accounts = sorted(self._crossed)
        places = {market: number for number, market in enumerate(now)}
        rows: list[tuple[float, ...]] = []
        for row, account in enumerate(accounts):
            for identity in cross_identities(account, self._index.account(account)):
                market = split_position_id(identity)[1]
                if market in now:
                    cells = _cross_row(self._index.position(identity), now[market])
                    rows.append((row, places[market], *cells))
        table = np.array(rows, dtype=np.float64).reshape(len(rows), 7)
        balances = [float(self._index.account(account).balance) for account in accounts]
        columns = CrossColumns(
            account=table[:, 0].astype(np.int64),
            market=table[:, 1].astype(np.int64),
            size=table[:, 2],
            basis=table[:, 3],
            least=table[:, 4],
            most=table[:, 5],
            cash=table[:, 6],
            balance=np.array(balances),
        )
        self._cross, self._fresh_accounts = (accounts, columns), set()

    def _sort_cross(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Put the holders of each market into the order of their reach from here."""
        assert self._cross is not None
        accounts, columns = self._cross
        self._holders = Holders(accounts, columns, {m: place_of(each) for m, each in now.items()})


def decide(book: Book, readings: Readings, found: Iterable[PositionId]) -> dict[PositionId, Health]:
    """Give the candidates that the contract would liquidate, in the law's exact integers.

    Of a cross account, each position: which goes first is the liquidator's to say.
    """
    looked_at = {identity: health(book, readings, identity) for identity in found}
    return {
        identity: each
        for identity, each in looked_at.items()
        if each.standing.position.size and is_liquidatable(each.equity, each.maintenance)
    }


def markets_now(book: Book, readings: Readings) -> dict[MarketId, MarketNow]:
    """Look at every market of a book that has a price."""
    every = (market_now(book, readings, m) for m in book.markets if m in readings.markets)
    return {each.market: each for each in every if each.price}


def basis_of(now: MarketNow) -> Basis:
    """Say what a market's order depends on beside price, funding and its positions."""
    limits = now.limits
    return Basis(
        bound_ppm=max(limits.effective_maintenance_ppm, limits.target_maintenance_ppm),
        live=now.live,
        cuts=(now.book.side(LONG).number, now.book.side(SHORT).number),
        settled=now.book.settled,
    )


def place_of(now: MarketNow) -> Place:
    """Say where a market stands."""
    bound = basis_of(now).bound_ppm / PPM
    return Place(price=float(now.price), index=float(now.index), live=now.live, bound=bound)


def ratios_of(position: Position) -> tuple[float, float]:
    """Give the ratio that a position is asked for at least, and the one it is never above."""
    least = position.maintenance_ppm
    if not position.managed:
        return least / PPM, least / PPM
    ramp = position.ramp
    adjusted = max(ramp.from_ppm, ramp.target_ppm) if ramp is not None else 0
    return max(least, adjusted) / PPM, position.ceiling_ppm / PPM


def isolated_after_cuts(stored: Position, now: MarketNow) -> Position:
    """Give what cuts have left of an isolated position, what they paid or took as collateral."""
    held, cash = after_cuts(stored, now.book.side(stored.side))
    return replace(held, collateral=UsdcE6(max(0, held.collateral + cash))) if cash else held


def columns_of(positions: Iterable[Position]) -> Columns:
    """Put isolated positions into columns."""
    rows = [(float(p.size), float(p.basis), float(p.collateral), *ratios_of(p)) for p in positions]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 5)
    return Columns(
        size=table[:, 0],
        basis=table[:, 1],
        collateral=table[:, 2],
        least=table[:, 3],
        most=table[:, 4],
    )


def _cross_row(stored: Position, now: MarketNow) -> tuple[float, ...]:
    held, cash = after_cuts(stored, now.book.side(stored.side))
    return float(held.side * held.size), float(held.basis), *ratios_of(held), float(cash)


def _all_keys(index: Index) -> list[Key]:
    tables = index.ledger.tables
    return [(t, key) for t in (Table.POSITION, Table.ACCOUNT) for key in tables[t]]
