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

from agent.positions.cross import CrossAccounts
from agent.positions.screen import Place
from agent.positions.tables import MarketTable, isolated_places
from contracts.book import Book
from contracts.book_margin import Health, MarketNow, cross_margin, health, market_now
from contracts.book_readings import Readings
from contracts.book_words import CROSS, Account, PositionId, split_position_id
from contracts.margin import LONG, SHORT, is_liquidatable
from contracts.units import PPM, MarketId
from relayer.chain.index import Index, cross_identities
from relayer.chain.index_ledger import Key, Table

SORT_AFTER: Final = 256  # positions that changed in a market: then they are put among the rest


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
        places = isolated_places(index)
        self._markets = {market: MarketTable(found) for market, found in places.items()}
        self._cross = CrossAccounts(index)
        self._bases: dict[MarketId, Basis] = {}

    def take(self, changed: Iterable[Key]) -> None:
        """Note what changed in the index."""
        for table, key in changed:
            if table is Table.POSITION:
                account, market, mode = split_position_id(PositionId(key))
                place = self._index.ledger.positions.place(key)
                if mode == CROSS:
                    self._cross.take(account)
                elif place is not None:
                    self._table(market).take(place)
            elif table is Table.ACCOUNT:
                self._cross.take(Account(key))

    def candidates(self, now: Mapping[MarketId, MarketNow]) -> tuple[PositionId, ...]:
        """Give every position that may be liquidatable at these prices, and few others.

        Of a cross account, all its positions.
        """
        self.prepare(now)
        prices = {market: (float(each.price),) for market, each in now.items()}
        return self._reached(now, prices)

    def near(
        self, now: Mapping[MarketId, MarketNow], moves: Mapping[MarketId, float]
    ) -> tuple[PositionId, ...]:
        """Give every position that a move of its market, either way, may bring to liquidation.

        `moves` are logarithms of price. To be asked after `candidates` of the same prices.
        """
        prices = {
            market: (float(each.price) / factor, float(each.price) * factor)
            for market, each in now.items()
            if (factor := math.exp(moves[market]))
        }
        return self._reached(now, prices)

    def prepare(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Sort anew what no longer holds: pauses, freshness, ratios or cuts are others now."""
        bases = {market: basis_of(each) for market, each in now.items()}
        changed = [market for market, basis in bases.items() if self._bases.get(market) != basis]
        for market, each in now.items():
            if market not in changed:
                self._table(market).read(self._index, each, bases[market].bound_ppm / PPM)
        if not changed:
            return
        before = {market: self._bases[market].cuts for market in changed if market in self._bases}
        if any(before.get(market) != bases[market].cuts for market in changed):
            self._cross.forget()
        for market in changed:
            self._table(market).sort(self._index, now[market], bases[market].bound_ppm / PPM)
            self._bases[market] = bases[market]
        self._cross.sort(now, _places(now))

    def tidy(self, now: Mapping[MarketId, MarketNow]) -> None:
        """Sort anew what costs more to look at than to sort: for the time between two prices."""
        for market, each in now.items():
            if len(self._table(market)) > SORT_AFTER:
                self._table(market).sort(self._index, each, self._bases[market].bound_ppm / PPM)
        self._cross.tidy(now, _places(now))

    def _reached(
        self, now: Mapping[MarketId, MarketNow], prices: Mapping[MarketId, tuple[float, ...]]
    ) -> tuple[PositionId, ...]:
        """Give the positions that any of these prices may have reached."""
        places: set[int] = set()
        accounts = self._cross.unseen
        for market, each in now.items():
            table, index = self._table(market), float(each.index)
            for price in prices[market]:
                places.update(table.reached(price, index))
                accounts.update(self._cross.reached(market, price, index))
        rows = self._index.ledger.positions
        found = {PositionId(rows.key(place)) for place in places}
        for account in accounts:
            found.update(cross_identities(account, self._index.account(account)))
        return tuple(sorted(found))

    def _table(self, market: MarketId) -> MarketTable:
        return self._markets.setdefault(market, MarketTable())


def decide(book: Book, readings: Readings, found: Iterable[PositionId]) -> dict[PositionId, Health]:
    """Give the candidates that the contract would liquidate, in the law's exact integers.

    Of a cross account, each position: which goes first is the liquidator's to say.
    """
    named = list(found)
    weak: dict[PositionId, Health] = {}
    crossed = {split_position_id(each)[0] for each in named if each & 0xFF == CROSS}
    below = {each for each in crossed if cross_margin(book, readings, each).is_liquidatable}
    for identity in named:
        account, _, mode = split_position_id(identity)
        if mode == CROSS and account not in below:
            continue
        each = health(book, readings, identity)
        if each.standing.position.size and is_liquidatable(each.equity, each.maintenance):
            weak[identity] = each
    return weak


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


def _places(now: Mapping[MarketId, MarketNow]) -> dict[MarketId, Place]:
    return {market: place_of(each) for market, each in now.items()}
