"""Cross accounts in the order in which a move of a market may reach them.

Few change between two ticks. Those are looked at each time until they are `LOOKED_AT`, then put
into an order of their own, and among the rest once they are `APART` or a market has gone far.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from agent.positions.screen import CrossColumns, Floats, Holders, Place
from agent.positions.tables import Cells, cuts_of, ratios_of
from contracts.book_action import after_cuts
from contracts.book_margin import MarketNow
from contracts.book_words import Account, Position, PositionId, split_position_id
from contracts.units import MarketId
from relayer.chain.index import Index, cross_identities
from relayer.chain.index_columns import AccountColumns, PositionColumns

LOOKED_AT: Final = 16
APART: Final = 512
FAR: Final = 0.01  # a move past which accounts are measured from where the market is now

Places = Mapping[MarketId, Place]


class CrossAccounts:
    """Every account with a cross position, by what its markets may do to it."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._open = set(_crossed(index))
        self._table = CrossTable(self._open)
        self._holders: list[Holders] = []  # of all, then of those that changed since
        self._unseen = set(self._open)

    def take(self, account: Account) -> None:
        """Note that an account, or a position of it, is another one now."""
        has_open = bool(self._index.account(account).markets)
        (self._open.add if has_open else self._open.discard)(account)
        self._table.fresh.add(account)
        self._unseen.add(account)

    def reached(self, market: MarketId, price: float, index: float) -> Iterator[Account]:
        """Give the accounts that a market's move may have brought below maintenance."""
        for holders in self._holders:
            for account in holders.reached(market, price, index):
                if account in self._open:
                    yield Account(account)

    @property
    def unseen(self) -> set[Account]:
        """Those that changed and are in no order yet."""
        return self._unseen & self._open

    def forget(self) -> None:
        """Read every account anew: cuts have changed their positions."""
        self._table = CrossTable(self._open)

    def sort(self, now: Mapping[MarketId, MarketNow], places: Places) -> None:
        """Put all into the order of their reach from here."""
        self._table.merge(self._index, now)
        self._holders = [self._table.holders(places)]
        self._unseen = set()

    def tidy(self, now: Mapping[MarketId, MarketNow], places: Places) -> None:
        """Sort anew what costs more to look at than to sort."""
        if len(self._table.fresh) > APART or any(self._is_far(each, places) for each in now):
            self.sort(now, places)
        elif len(self._unseen) > LOOKED_AT:
            apart = CrossTable(self._table.fresh & self._open)
            apart.merge(self._index, now)
            self._holders = [*self._holders[:1], apart.holders(places)]
            self._unseen = set()

    def _is_far(self, market: MarketId, places: Places) -> bool:
        here = places[market]
        there = self._holders[0].places.get(market) if self._holders else None
        return there is not None and there.moved(here.price, here.index) > FAR


class CrossTable:
    """All cross accounts: their positions as rows, and the accounts that changed since."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self.fresh: set[Account] = set(accounts)
        self._names: list[Account] = []
        self._numbers: dict[Account, int] = {}
        self._balances = array("d")
        self._rows: Floats = np.empty((0, 7))

    def holders(self, places: Places) -> Holders:
        """Put the holders of each market into the order of their reach from here."""
        columns = CrossColumns.of(self._rows, np.array(self._balances, dtype=np.float64))
        return Holders(self._names, columns, places)

    def merge(self, index: Index, now: Mapping[MarketId, MarketNow]) -> None:
        """Put the accounts that changed among the rest."""
        gone = [self._numbers.pop(account) for account in self.fresh if account in self._numbers]
        owners, identities = array("d"), list[PositionId]()
        for account in sorted(self.fresh):
            held = index.account(account)
            named = [
                identity
                for identity in cross_identities(account, held)
                if market_of(identity) in now and identity in index.ledger.positions
            ]
            if held.markets:
                owners.extend([float(len(self._names))] * len(named))
                identities += named
                self._numbers[account] = len(self._names)
                self._names.append(account)
                self._balances.append(float(held.balance))
        keep = ~np.isin(self._rows[:, 0], gone)
        added = _rows_of(index, np.array(owners), identities, now)
        self._rows, self.fresh = np.concatenate([self._rows[keep], added]), set()


def market_of(identity: PositionId) -> MarketId:
    """Say where a position is."""
    return split_position_id(identity)[1]


def _rows_of(
    index: Index,
    owners: Floats,
    identities: Sequence[PositionId],
    now: Mapping[MarketId, MarketNow],
) -> Floats:
    """Write cross positions as rows of `CrossColumns`."""
    stored = index.ledger.positions
    places = np.array([stored.place(identity) for identity in identities], dtype=np.int32)
    columns = PositionColumns(stored.gather(places))
    numbers = np.zeros(1 + max(now, default=0))
    numbers[list(now)] = np.arange(len(now))
    side = np.where(columns.long, 1.0, -1.0)
    cells = (side * columns.size, columns.basis, columns.least, columns.most)
    none = np.zeros(len(identities))
    rows = np.stack([owners, numbers[columns.market], *cells, none], axis=1)
    for row in np.flatnonzero(columns.cuts != cuts_of(columns, now)).tolist():
        each = now[market_of(identities[row])]
        rows[row, 2:] = _cells(index.position(identities[row]), each)
    return np.asarray(rows)


def _crossed(index: Index) -> Iterator[Account]:
    rows = index.ledger.accounts
    for begun, block in rows.blocks():
        for place in np.flatnonzero(AccountColumns(block).crossed):
            yield Account(rows.key(begun + int(place)))


def _cells(stored: Position, now: MarketNow) -> Cells:
    held, cash = after_cuts(stored, now.book.side(stored.side))
    return float(held.side * held.size), float(held.basis), *ratios_of(held), float(cash)
