"""Accounts, positions, requests and pool as the margin contracts' events tell them, to be read.

Values are the law's own (`contracts.book*`), frozen, decoded when they are asked for: a million
positions kept decoded would take a gigabyte. `book` puts them together, so that every function of
the law answers for the chain as it was at `block`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np

from contracts.book import Book, MarketBook, Request, SideBook, Terms
from contracts.book_words import (
    CROSS,
    ISOLATED,
    Account,
    AccountBook,
    Position,
    PositionId,
    account_number,
    decode_account,
    decode_flow,
    decode_position,
    decode_rules,
    decode_sizes,
    position_id,
    split_position_id,
)
from contracts.margin import SizeE18
from contracts.margin_sides import NO_CUT, Cut
from contracts.pool import PoolState
from contracts.units import LeverageE2, MarketId, Ppm, PriceE18, UnixMs, UsdcE6
from relayer.chain.index_columns import Flags, PositionColumns, cuts_by_side
from relayer.chain.index_ledger import REDEEM, Ledger, Table, cut_key
from relayer.chain.index_lives import PastTrade, trades_of
from relayer.chain.index_rows import Row

Value = TypeVar("Value")

GENESIS: Final = (0, b"")
"""Where an index stands that has read nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRequest:
    """An order that waits at the desk, executable or not; `fields` as `execute` takes them back."""

    request_id: bytes
    request: Request
    fields: tuple[int | str | bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityRequest:
    """A deposit into the pool, or a redemption, that waits for its cooldown."""

    number: int
    redeems: bool
    owner: Account
    tranche: int
    amount: int  # USDC e6, or shares
    ready_at_s: int


class Index:
    """What the events up to `block` amount to. Reading never asks the chain."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self._decoded: dict[tuple[Table, int], tuple[Row, Any]] = {}

    @property
    def block(self) -> tuple[int, bytes]:
        """Number and hash of the block that this is the state after."""
        marks = self.ledger.marks
        return (marks[-1].number, marks[-1].block_hash) if marks else GENESIS

    def account(self, account: str | Account) -> AccountBook:
        """Give a cross account's nonce, promised fees, open markets and balance."""
        key = account_number(account) if isinstance(account, str) else account
        return decode_account(*self.ledger.get(Table.ACCOUNT, key))

    def accounts(self) -> Mapping[Account, AccountBook]:
        """Give every account that has a balance or ever used terms."""
        return {Account(key): self.account(Account(key)) for key in self._keys(Table.ACCOUNT)}

    def position(self, identity: PositionId) -> Position:
        """Give a position as stored (cuts since then not applied); a closed one has size 0."""
        return decode_position(self.ledger.get(Table.POSITION, identity))

    def positions(self) -> Mapping[PositionId, Position]:
        """Give every open position."""
        return {key: self.position(key) for key in self._chosen(lambda held: held.open)}

    def has_positions(self) -> bool:
        """Tell whether anybody holds a position."""
        return any(PositionColumns(rows).open.any() for _, rows in self.ledger.positions.blocks())

    def positions_of(self, account: str | Account) -> Mapping[PositionId, Position]:
        """Give an account's open positions of both modes."""
        owner = account_number(account) if isinstance(account, str) else account
        markets = self.ledger.tables[Table.MARKET]
        alone = (position_id(owner, MarketId(market), ISOLATED) for market in markets)
        named = (*alone, *cross_identities(owner, self.account(owner)))
        held = {key: self.position(key) for key in named if key in self.ledger.positions}
        return {key: each for key, each in held.items() if each.size}

    def requests(self) -> tuple[IndexedRequest, ...]:
        """Give the orders that wait at the desk, oldest first, also those whose window is over."""
        waiting = (
            self._read(Table.REQUEST, key, partial(_request, key))
            for key in self._keys(Table.REQUEST)
        )
        return tuple(sorted(waiting, key=lambda each: each.request.requested_at_ms))

    def pool(self) -> PoolState:
        """Give the pool's money and shares."""
        return self._read(Table.POOL, 0, lambda row: _pool(*row))

    def liquidity_requests(self) -> tuple[LiquidityRequest, ...]:
        """Give the deposits and redemptions that wait, by their numbers."""
        rows = self.ledger.tables[Table.LIQUIDITY]
        return tuple(_liquidity(key, row) for key, row in sorted(rows.items()))

    def market(self, market: MarketId) -> MarketBook:
        """Give a market's rules, sides with their cuts, funding and pot; KeyError without rules."""
        found = self.markets().get(market)
        if found is None:
            raise KeyError(market)
        return found

    def markets(self) -> Mapping[MarketId, MarketBook]:
        """Give every market that the engine has rules for."""
        keys = sorted(self.ledger.tables[Table.MARKET])
        found = {MarketId(k): self._read(Table.MARKET, k, partial(self._market, k)) for k in keys}
        return {market: each for market, each in found.items() if each is not None}

    def book(self) -> Book:
        """Put everything together, as the contracts have it; the liquidator's paces are not here.

        Costs a walk over all positions: for cycles and questions, not for each tick.
        """
        positions, accounts, markets = self.positions(), self.accounts(), self.markets()
        requests = frozenset(each.request for each in self.requests())
        escrow = sum(each.margin + each.fee for each in requests if each.mode != CROSS)
        collateral = sum(each.collateral for each in positions.values())
        balances = [each.balance for each in accounts.values()]
        owed = sum(balance for balance in balances if balance > 0)
        return Book(
            positions=MappingProxyType(positions),
            accounts=MappingProxyType(accounts),
            markets=MappingProxyType(markets),
            requests=requests,
            pool=self.pool(),
            credited=owed + collateral + escrow + sum(each.pot for each in markets.values()),
            escrow=UsdcE6(escrow),
            debts=UsdcE6(-sum(balance for balance in balances if balance < 0)),
        )

    def part(self, accounts: Iterable[Account]) -> Book:
        """Put together what concerns some accounts: theirs, every market, the pool.

        What an action of theirs does and who refuses it is as in the whole; the sums are not.
        """
        chosen = frozenset(accounts)
        requests = (each.request for each in self.requests())
        return Book(
            positions={k: held for each in chosen for k, held in self.positions_of(each).items()},
            accounts={each: self.account(each) for each in chosen},
            markets=self.markets(),
            requests=frozenset(each for each in requests if each.account in chosen),
            pool=self.pool(),
        )

    def holding(self, identities: Iterable[PositionId]) -> Book:
        """Put together some positions and their accounts, and every market: enough for `health`.

        Of a cross account, all positions have to be named.
        """
        positions = {identity: self.position(identity) for identity in identities}
        owners = {split_position_id(identity)[0] for identity in positions}
        return Book(
            positions=positions,
            accounts={owner: self.account(owner) for owner in owners},
            markets=self.markets(),
        )

    def trades_of(self, account: str | Account) -> tuple[PastTrade, ...]:
        """Give an account's newest trades, those that are open last."""
        owner = account_number(account) if isinstance(account, str) else account
        return tuple(trades_of(self.ledger, owner, list(self.positions_of(owner))))

    def managed_in(self, markets: Collection[MarketId]) -> tuple[PositionId, ...]:
        """Give the managed positions of some markets: of a million, those few are named."""
        wanted = list(markets)
        return self._chosen(
            lambda held: held.open & held.managed & np.isin(held.market, wanted),
        )

    def behind(self) -> tuple[PositionId, ...]:
        """Give positions of settled markets, and those that a cut of their side has not reached."""
        markets = self.markets()
        settled = [market for market, each in markets.items() if each.settled]
        if not settled and not any(m.long.number or m.short.number for m in markets.values()):
            return ()

        def left(held: PositionColumns) -> Flags:
            late = held.cuts != cuts_by_side(held, markets)
            return np.asarray(held.open & (late | np.isin(held.market, settled)))

        return self._chosen(left)

    def _chosen(self, chosen: Callable[[PositionColumns], Flags]) -> tuple[PositionId, ...]:
        """Name the positions that a look at their columns chooses."""
        rows = self.ledger.positions
        return tuple(
            PositionId(rows.key(begun + int(place)))
            for begun, block in rows.blocks()
            for place in np.flatnonzero(chosen(PositionColumns(block)))
        )

    def _keys(self, table: Table) -> list[int]:
        return list(self.ledger.tables[table])

    def _market(self, key: int, row: Row) -> MarketBook | None:
        sizes, long_sum, short_sum, flow_word, rules_word, settlement, pot = row
        rules, flow = decode_rules(rules_word), decode_flow(flow_word)
        if rules is None:
            return None
        long, short = decode_sizes(sizes)
        return MarketBook(
            rules=rules,
            long=self._side(key, (long, long_sum), is_long=True, cuts=flow.long_cuts),
            short=self._side(key, (short, short_sum), is_long=False, cuts=flow.short_cuts),
            index=flow.index,
            rate=flow.rate,
            at_s=flow.at_s,
            settled=flow.settled,
            settlement_price=PriceE18(settlement),
            pot=pot,
        )

    def _side(
        self, market: int, sums: tuple[SizeE18, int], *, is_long: bool, cuts: int
    ) -> SideBook:
        numbers = range(1, cuts + 1)
        rows = [self.ledger.get(Table.CUT, cut_key(market, is_long, n)) for n in numbers]
        after = (Cut(keep_e27=keep, cash=cash) for keep, cash in rows)
        return SideBook(size=sums[0], basis_sum=sums[1], cuts=(NO_CUT, *after))

    def _read(self, table: Table, key: int, decode: Callable[[Row], Value]) -> Value:
        row = self.ledger.get(table, key)
        known = self._decoded.get((table, key))
        if known is not None and known[0] is row:
            found: Value = known[1]
            return found
        value = decode(row)
        self._decoded[table, key] = (row, value)
        return value


def cross_identities(account: Account, book: AccountBook) -> tuple[PositionId, ...]:
    """Name an account's open cross positions."""
    return tuple(position_id(account, market, CROSS) for market in book.markets)


def _request(key: int, row: Row) -> IndexedRequest:
    account, market, mode, long, reduce_only, managed, size, margin, leverage, *rest = row
    maintenance, ceiling, max_notional, fee, acceptable, requested_at = rest
    terms = Terms(
        leverage_e2=LeverageE2(leverage),
        managed=bool(managed),
        maintenance_ppm=Ppm(maintenance),
        ceiling_ppm=Ppm(ceiling),
    )
    request = Request(
        account=Account(account),
        market=MarketId(market),
        mode=mode,
        long=bool(long),
        reduce_only=bool(reduce_only),
        size=SizeE18(size),
        margin=UsdcE6(margin),
        terms=terms,
        max_notional=UsdcE6(max_notional),
        fee=UsdcE6(fee),
        acceptable_price=PriceE18(acceptable),
        requested_at_ms=UnixMs(requested_at),
    )
    flags = (bool(long), bool(reduce_only), bool(managed))
    fields: tuple[int | str | bool, ...] = (f"0x{account:040x}", market, mode, *flags, *row[6:])
    return IndexedRequest(request_id=key.to_bytes(32, "big"), request=request, fields=fields)


def _pool(
    assets: int, insurance: int, pending: int, shares: int, insurance_shares: int
) -> PoolState:
    return PoolState(
        assets=UsdcE6(assets),
        insurance=UsdcE6(insurance),
        pending=UsdcE6(pending),
        shares=shares,
        insurance_shares=insurance_shares,
    )


def _liquidity(key: int, row: Row) -> LiquidityRequest:
    kind, owner, tranche, amount, ready_at_s = row
    return LiquidityRequest(
        number=key,
        redeems=kind == REDEEM,
        owner=Account(owner),
        tranche=tranche,
        amount=amount,
        ready_at_s=ready_at_s,
    )
