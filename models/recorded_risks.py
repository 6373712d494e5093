"""What a daemon saw become of positions and accounts, as evidence beside candles and simulation.

Recorded rows are few beside what candles and the simulated population give, and nearer to what is
asked. They join both fits by credibility: n of them have n / (n + believed) of the whole weight,
older ones counting less. Below a least count they are left out, and said to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accounts import HORIZON_MS, NAMES, AccountTable
from models.dataset import DatasetError
from models.heads import HORIZONS_S
from models.liquidation import LONG, SHORT, PassageRows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Column = NDArray[np.generic]

LEAST_EVENTS: Final = 50
"""Liquidated, and as many that were not: with fewer, a fit says more of chance than of risk."""
LEAST_ACCOUNTS: Final = 200
MOST_REFUSED: Final = 0.01
"""Where more rows than this are bad, the record as a whole is not believed."""
NAME: Final = "journal, positions and accounts"
POSITIONS, ACCOUNTS = "recorded_positions_", "recorded_accounts"
"""How counts of what was learned from are named in a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedAccounts:
    """Accounts as they were known at an instant of each, and who was liquidated in 30 days."""

    table: AccountTable
    liquidated: FloatArray
    as_of_ms: IntArray

    def __len__(self) -> int:
        """Return the number of accounts."""
        return len(self.liquidated)

    def select(self, chosen: NDArray[np.bool_] | IntArray) -> RecordedAccounts:
        """Keep these accounts, in this order."""
        return RecordedAccounts(
            table=AccountTable(
                accounts=self.table.accounts[chosen],
                values=self.table.values[chosen],
                trades=self.table.trades[chosen],
            ),
            liquidated=self.liquidated[chosen],
            as_of_ms=self.as_of_ms[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedRisks:
    """Evidence for both heads; `passages` by horizon in seconds and side.

    Attributes
    ----------
    refused : tuple of str
        What was wrong with each row that was left out.
    """

    passages: Mapping[tuple[int, int], PassageRows]
    accounts: RecordedAccounts
    refused: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Digest of every row; another order of the same rows gives the same."""
        digest, ordered = hashlib.sha256(), self.in_order()
        for key, rows in sorted(ordered.passages.items()):
            digest.update(repr((key, len(rows.hit))).encode())
            for field in fields(PassageRows):
                digest.update(np.ascontiguousarray(getattr(rows, field.name)).tobytes())
        held = ordered.accounts
        for array in (held.table.values, held.table.trades, held.liquidated, held.as_of_ms):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def in_order(self) -> RecordedRisks:
        """Put rows into the one order that depends on nothing but themselves."""
        passages = {key: _ordered(rows) for key, rows in sorted(self.passages.items())}
        held = self.accounts
        columns = (*held.table.values.T, held.table.trades, held.liquidated, held.as_of_ms)
        accounts = held.select(np.lexsort(columns))
        numbered = replace(accounts.table, accounts=np.arange(len(held), dtype=np.int64))
        accounts = replace(accounts, table=numbered)
        return RecordedRisks(passages=passages, accounts=accounts, refused=self.refused)

    def before(self, cutoff_ms: int) -> RecordedRisks:
        """Keep what had ended by a cutoff."""
        passages = {
            (horizon_s, side): _chosen(rows, rows.as_of_ms + 1_000 * horizon_s <= cutoff_ms)
            for (horizon_s, side), rows in self.passages.items()
        }
        kept = self.accounts.as_of_ms + HORIZON_MS <= cutoff_ms
        return replace(self, passages=passages, accounts=self.accounts.select(kept))

    def passage(self, horizon_s: int, side: int) -> PassageRows | None:
        """Give a horizon's and side's rows; None where they are too few."""
        rows = self.passages.get((horizon_s, side))
        return rows if rows is not None and _enough(rows.hit, 2 * LEAST_EVENTS) else None

    def population(self) -> RecordedAccounts | None:
        """Give the accounts; None where they are too few."""
        return self.accounts if _enough(self.accounts.liquidated, LEAST_ACCOUNTS) else None

    @property
    def learns(self) -> bool:
        """Whether there is enough of anything."""
        return self.population() is not None or any(self.passage(*key) for key in self.passages)

    def lines(self) -> tuple[str, ...]:
        """Say how many rows there are, and whether they are learned from."""
        said = [
            f"{horizon_s // 60} min {'long' if side == LONG else 'short'}: "
            + _counted(rows.hit, "positions", enough=self.passage(horizon_s, side) is not None)
            for (horizon_s, side), rows in sorted(self.passages.items())
        ]
        held = self.accounts.liquidated
        enough = self.population() is not None
        said.append(f"accounts: {_counted(held, 'accounts', enough=enough)}")
        if self.refused:
            said.append(f"{len(self.refused)} bad rows left out, the first: {self.refused[0]}")
        return tuple(said)

    def figures(self) -> dict[str, float]:
        """Count what is learned from, for the manifest; 0 where rows were too few."""
        found = {}
        for (horizon_s, side), rows in sorted(self.passages.items()):
            used = self.passage(horizon_s, side)
            name = "long" if side == LONG else "short"
            found[f"{POSITIONS}{horizon_s}_{name}"] = float(len(rows.hit) if used else 0)
        found[ACCOUNTS] = float(len(self.population() or ()))
        return found | {"recorded_refused": float(len(self.refused))}


def checked(risks: RecordedRisks, rows: int) -> RecordedRisks:
    """Return them if few of so many rows had to be refused.

    Raises
    ------
    DatasetError
        When the record as a whole is not to be believed.
    """
    bad = len(risks.refused)
    if bad > MOST_REFUSED * rows:
        raise DatasetError(
            f"{bad} of {rows} rows of the journal are bad, more than {MOST_REFUSED:.0%}: it is not "
            f"learned from, and is as it was. The first: {risks.refused[0]}. Find out what wrote "
            "them, or train without --from-journal"
        )
    return risks


def together(parts: Sequence[RecordedRisks]) -> RecordedRisks:
    """Join the records of several engines, in the one order."""
    passages = {}
    for key in [(horizon_s, side) for horizon_s in HORIZONS_S for side in (LONG, SHORT)]:
        own = [each.passages[key] for each in parts if key in each.passages]
        passages[key] = PassageRows(
            **{
                field.name: np.concatenate([_nothing(field.name), *_column(own, field.name)])
                for field in fields(PassageRows)
            }
        )
    refused = tuple(line for each in parts for line in each.refused)
    accounts = _joined([each.accounts for each in parts])
    return RecordedRisks(passages=passages, accounts=accounts, refused=refused).in_order()


def _nothing(name: str) -> Column:
    """Give an empty column of `PassageRows`."""
    return np.empty(0, np.int64) if name == "as_of_ms" else np.empty(0)


def _column(parts: Sequence[PassageRows], name: str) -> list[Column]:
    return [getattr(each, name) for each in parts]


def _joined(parts: Sequence[RecordedAccounts]) -> RecordedAccounts:
    tables = [each.table for each in parts]
    return RecordedAccounts(
        table=AccountTable(
            accounts=np.concatenate([np.empty(0, np.int64), *(each.accounts for each in tables)]),
            values=np.concatenate([np.empty((0, len(NAMES))), *(each.values for each in tables)]),
            trades=np.concatenate([np.empty(0), *(each.trades for each in tables)]),
        ),
        liquidated=np.concatenate([np.empty(0), *(each.liquidated for each in parts)]),
        as_of_ms=np.concatenate([np.empty(0, np.int64), *(each.as_of_ms for each in parts)]),
    )


def _ordered(rows: PassageRows) -> PassageRows:
    keys = (rows.hit, rows.deviation, rows.distance, rows.as_of_ms)
    return _chosen(rows, np.lexsort(keys))


def _chosen(rows: PassageRows, chosen: NDArray[np.bool_] | IntArray) -> PassageRows:
    columns = {field.name: getattr(rows, field.name)[chosen] for field in fields(PassageRows)}
    return PassageRows(**columns)


def _enough(hit: FloatArray, least: int) -> bool:
    dead = float(hit.sum())
    return len(hit) >= least and min(dead, len(hit) - dead) >= LEAST_EVENTS


def _counted(hit: FloatArray, what: str, *, enough: bool) -> str:
    verdict = "learned from" if enough else "too few, left out"
    return f"{len(hit)} {what}, {int(hit.sum())} liquidated: {verdict}"
