"""The positions at risk at each price: screened in float, decided by the law, the rest untouched.

`Watch` follows the index by what changed in it. A tick costs a search in each market, and the
law's exact integers for what the search finds. What changed since the last sort waits apart and
is looked at each time; past a number, the market is sorted anew, between ticks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agent.positions.screen import Holders, Place
from agent.positions.tables import CrossTable, MarketTable
from contracts.book import Book
from contracts.book_margin import Health, MarketNow, health, market_now
from contracts.book_readings import Readings
from contracts.book_words import CROSS, Account, PositionId, split_position_id
from contracts.margin import LONG, SHORT, is_liquidatable
from contracts.units import PPM, MarketId
from relayer.chain.index import Index, cross_identities
from relayer.chain.index_ledger import Key, Table

SORT_AFTER: Final = 256  # positions that changed in a market: then they are put among the rest
ACCOUNTS_AFTER: Final = 16  # cross accounts that changed: each of them is looked at each time
FAR: Final = 0.01  # a move past which cross accounts are measured from where the market is now


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
        self._markets: dict[MarketId, MarketTable] = {}
        self._cross = CrossTable()
        self._crossed: set[Account] = set()
        self._holders: Holders | None = None
        self._bases: dict[MarketId, Basis] = {}
        self.take(_all_keys(index))

    def take(self, changed: Iterable[Key]) -> None:
        """Note what changed in the index."""
        for table, key in changed:
            if table is Table.POSITION:
                account, market, mode = split_position_id(PositionId(key))
                if mode == CROSS:
                    self._take_account(account)
                else:
                    self._table(market).take(PositionId(key))
            elif table is Table.ACCOUNT:
                self._take_account(Account(key))

    def candidates(self, now: Mapping[MarketId, MarketNow]) -> tuple[PositionId, ...]:
        """Give every position that may be liquidatable at these prices, and few others.

        Of a cross account, all its positions.
        """
        self.prepare(now)
        found: set[PositionId] = set()
        accounts = set(self._cross.fresh)
        for market, each in now.items():
            price, index = float(each.price), float(each.index)
            found.update(self._table(market).reached(price, index))
            if self._holders is not None:
                accounts.update(Account(a) for a in self._holders.reached(market, price, index))
        for account in accounts & self._crossed:
            found.update(cross_identities(account, self._index.account(account)))
        return tuple(sorted(found))

    def near(
        self, now: Mapping[MarketId, MarketNow], moves: Mapping[MarketId, float]
    ) -> tuple[PositionId, ...]:
        """Give every position that a move of its market, either way, may bring to liquidation.

        `moves` are logarithms of price. To be asked after `candidates` of the same prices.
        """
        found: set[PositionId] = set()
        accounts = set(self._cross.fresh)
        for market, each in now.items():
            price, index, factor = float(each.price), float(each.index), math.exp(moves[market])
            table = self._table(market)
            found.update(table.reached(price / factor, index))
            found.update(table.reached(price * factor, index))
            if self._holders is not None:
                for moved in (price / factor, price * factor):
                    within = self._holders.reached(market, moved, index)
                    accounts.update(Account(account) for account in within)
        for account in accounts & self._crossed:
            found.update(cross_identities(account, self._index.account(account)))
        return tuple(sorted(found))

    def prepare(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Sort anew what no longer holds: pauses, freshness, ratios or cuts are others now."""
        again = False
        for market, each in now.items():
            basis, before, table = basis_of(each), self._bases.get(market), self._table(market)
            bound = basis.bound_ppm / PPM
            if before is None or before.cuts != basis.cuts:
                table.forget()
                table.read(self._index, each, bound)
                table.merge()
                self._cross = CrossTable(self._crossed)
            table.read(self._index, each, bound)
            if before != basis:
                table.sort(bound, float(each.index))
                self._bases[market] = basis
                again = True
        if again:
            self._sort_cross(now)

    def tidy(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Sort anew what costs more to look at than to sort: for the time between two prices."""
        for market, each in now.items():
            table = self._table(market)
            if len(table) > SORT_AFTER:
                table.read(self._index, each, self._bases[market].bound_ppm / PPM)
                table.merge()
                table.sort(self._bases[market].bound_ppm / PPM, float(each.index))
        many = len(self._cross.fresh) > ACCOUNTS_AFTER
        if many or any(self._is_far(each) for each in now.values()):
            self._sort_cross(now)

    def _is_far(self, now: MarketNow) -> bool:
        place = self._holders.places.get(now.market) if self._holders else None
        return place is not None and place.moved(float(now.price), float(now.index)) > FAR

    def _table(self, market: MarketId) -> MarketTable:
        return self._markets.setdefault(market, MarketTable())

    def _take_account(self, account: Account) -> None:
        has_open = bool(self._index.account(account).markets)
        (self._crossed.add if has_open else self._crossed.discard)(account)
        self._cross.fresh.add(account)

    def _sort_cross(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Put the holders of each market into the order of their reach from here."""
        self._cross.merge(self._index, now)
        places = {market: place_of(each) for market, each in now.items()}
        self._holders = Holders(self._cross.names, self._cross.columns, places)


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


def _all_keys(index: Index) -> list[Key]:
    tables = index.ledger.tables
    return [(t, key) for t in (Table.POSITION, Table.ACCOUNT) for key in tables[t]]
