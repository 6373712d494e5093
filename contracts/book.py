"""The margin engine's book as one frozen value: whose positions, in which markets, what pool.

The reference model of MarginEngine, OrderDesk and Liquidator: pure functions of a book and what is
read around it, to a new book or a refusal with the contracts' number. Exact to the word: book_words
encodes what the contracts store. Nothing here knows a chain.

| module | what it does |
|---|---|
| book_words, book_readings | the storage words; what is read around the book |
| book_action | one action's moves of money and sizes, and how they end with the pool |
| book_margin | what positions and accounts are worth, and what is asked of them |
| book_money | deposits, withdrawals, isolated margin, escrow and promises |
| book_legs, book_trades | what a leg costs and stores; orders executed, terms changed |
| book_closing | liquidated parts, adjustments, cuts, settlement, rules |
| book_sizing, book_liquidator | how much of which position is closed, and when |
| book_desk | requests |
| book_views | what the pool is told, totals, quotes, liquidation prices |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from contracts.book_words import (
    CROSS,
    NO_SIZE,
    Account,
    AccountBook,
    Flow,
    MarketRules,
    Position,
    PositionId,
    position_id,
)
from contracts.margin import LONG, NOTHING, SHORT, SizeE18
from contracts.margin_pace import NEVER_S, Pace
from contracts.margin_sides import NO_CUT, Cut
from contracts.pool import PoolState
from contracts.refusals import MEANINGS, Refusal
from contracts.units import (
    LawError,
    LeverageE2,
    MarketId,
    Ppm,
    PriceE18,
    UnixMs,
    UnixS,
    UsdcE6,
)

NO_PRICE: Final = PriceE18(0)
EMPTY_POOL: Final = PoolState()
CLOSED: Final = Position()
UNUSED: Final = AccountBook()
STEADY: Final = Pace()


class Refused(LawError):  # noqa: N818 - the contracts' own name for it
    """The contracts would refuse this; the book is as it was."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.name}: {MEANINGS[refusal]}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an order puts the whole position under, once the quorum signed it."""

    leverage_e2: LeverageE2
    managed: bool
    maintenance_ppm: Ppm
    ceiling_ppm: Ppm


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the desk has the engine execute; `long`: the side that it buys into."""

    account: Account
    market: MarketId
    mode: int
    long: bool
    reduce_only: bool
    size: SizeE18
    margin: UsdcE6
    terms: Terms
    max_notional: UsdcE6
    fee: UsdcE6
    acceptable_price: PriceE18
    not_before_ms: UnixMs
    not_after_ms: UnixMs
    executor: Account

    @property
    def position_id(self) -> PositionId:
        """The position that it is for."""
        return position_id(self.account, self.market, self.mode)

    @property
    def direction(self) -> int:
        """+1 buys, −1 sells."""
        return LONG if self.long else SHORT

    @property
    def is_cross(self) -> bool:
        """Whether it is of the cross account."""
        return self.mode == CROSS


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An order that waits at the desk for a price observed after it."""

    account: Account
    market: MarketId
    mode: int
    long: bool
    reduce_only: bool
    size: SizeE18
    margin: UsdcE6
    terms: Terms
    max_notional: UsdcE6
    fee: UsdcE6
    acceptable_price: PriceE18
    requested_at_ms: UnixMs


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBook:
    """A side's aggregates and cuts; the number of a cut is its place, 0 is before the first."""

    size: SizeE18 = NO_SIZE
    basis_sum: int = 0
    cuts: tuple[Cut, ...] = (NO_CUT,)

    @property
    def number(self) -> int:
        """How often it was cut."""
        return len(self.cuts) - 1


NO_SIDE: Final = SideBook()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketBook:
    """A market's aggregates, funding and pot; `pot` (USDC e6) may stand below 0 for a while.

    The pot is what cuts have moved and positions have not yet taken: winners may come first.
    """

    rules: MarketRules
    long: SideBook = NO_SIDE
    short: SideBook = NO_SIDE
    index: int = 0
    rate: int = 0
    at_s: UnixS = NEVER_S
    settled: bool = False
    settlement_price: PriceE18 = NO_PRICE
    pot: int = 0

    def side(self, side: int) -> SideBook:
        """Give a side: +1 long, −1 short."""
        return self.long if side == LONG else self.short

    @property
    def skew(self) -> int:
        """Long minus short open interest, in SizeE18."""
        return self.long.size - self.short.size

    @property
    def flow(self) -> Flow:
        """The fields of the funding word."""
        return Flow(
            index=self.index,
            rate=self.rate,
            at_s=self.at_s,
            long_cuts=self.long.number,
            short_cuts=self.short.number,
            settled=self.settled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Everything that the engine, the desk and the liquidator store, and the pool's money.

    `credited` is what the vault owes traders: balances above 0, collateral, `escrow`, pots. `debts`
    is what balances below 0 owe the pool. Both are sums over the rest, kept as the contracts do.
    """

    positions: Mapping[PositionId, Position] = field(default_factory=lambda: MappingProxyType({}))
    accounts: Mapping[Account, AccountBook] = field(default_factory=lambda: MappingProxyType({}))
    markets: Mapping[MarketId, MarketBook] = field(default_factory=lambda: MappingProxyType({}))
    paces: Mapping[MarketId, Pace] = field(default_factory=lambda: MappingProxyType({}))
    graces: Mapping[Account, UnixS] = field(default_factory=lambda: MappingProxyType({}))
    requests: frozenset[Request] = frozenset()
    pool: PoolState = EMPTY_POOL
    credited: int = 0
    escrow: UsdcE6 = NOTHING
    debts: UsdcE6 = NOTHING

    def position(self, identity: PositionId) -> Position:
        """Give a position as stored; a closed one where there never was any."""
        return self.positions.get(identity, CLOSED)

    def account(self, account: Account) -> AccountBook:
        """Give an account; an unused one where nobody came yet."""
        return self.accounts.get(account, UNUSED)

    def pace(self, market: MarketId) -> Pace:
        """Give the liquidator's slot of a market."""
        return self.paces.get(market, STEADY)

    def grace(self, account: Account) -> UnixS:
        """Give when an account was first found to lack only live prices; 0 never."""
        return self.graces.get(account, NEVER_S)

    def market(self, market: MarketId) -> MarketBook:
        """Give a market; refuse one without rules."""
        found = self.markets.get(market)
        if found is None:
            raise Refused(Refusal.UNKNOWN_MARKET)
        return found
