"""One action on the book: moves of balances, positions and aggregates, ended by one settlement.

What the vault owes traders changes with each move; at the end the pool makes good exactly that, so
no token appears or disappears whatever the moves were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from contracts.book import CLOSED, Book, MarketBook, Refused, SideBook
from contracts.book_words import (
    CROSS,
    MAX_CROSS,
    Account,
    AccountBook,
    Position,
    PositionId,
    split_position_id,
)
from contracts.margin import LONG, NOTHING, SizeE18
from contracts.margin_sides import cash_of_cuts, size_after_cuts
from contracts.pool import Settled
from contracts.pool import settle as settle_pool
from contracts.refusals import Refusal
from contracts.units import MarketId, UsdcE6


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A book on its way from `start`; what insurance gets, and what a trader could not pay."""

    start: Book
    book: Book
    to_insurance: UsdcE6 = NOTHING
    shortfall: UsdcE6 = NOTHING

    def with_account(self, account: Account, after: AccountBook) -> Action:
        """Store an account; what traders are owed and owe follows its balance."""
        book = self.book
        old, new = book.account(account).balance, after.balance
        moved = replace(
            book,
            accounts={**book.accounts, account: after},
            credited=book.credited + max(0, new) - max(0, old),
            debts=UsdcE6(book.debts + max(0, -new) - max(0, -old)),
        )
        return replace(self, book=moved)

    def with_balance(self, account: Account, change: int) -> Action:
        """Change a balance."""
        if change == 0:
            return self
        held = self.book.account(account)
        return self.with_account(account, replace(held, balance=held.balance + change))

    def with_position(self, identity: PositionId, after: Position) -> Action:
        """Store a position; what traders are owed follows its collateral."""
        book = self.book
        change = after.collateral - book.position(identity).collateral
        moved = replace(
            book,
            positions={**book.positions, identity: after},
            credited=book.credited + change,
        )
        return replace(self, book=moved)

    def with_market(self, market: MarketId, after: MarketBook) -> Action:
        """Store a market; what traders are owed follows its pot."""
        book = self.book
        change = after.pot - book.market(market).pot
        moved = replace(
            book, markets={**book.markets, market: after}, credited=book.credited + change
        )
        return replace(self, book=moved)

    def with_escrow(self, change: int) -> Action:
        """Change what waiting requests hold."""
        book = self.book
        moved = replace(book, escrow=UsdcE6(book.escrow + change), credited=book.credited + change)
        return replace(self, book=moved)

    def insured(self, amount: int) -> Action:
        """Give insurance an amount."""
        return replace(self, to_insurance=UsdcE6(self.to_insurance + amount))

    def short_of(self, amount: int) -> Action:
        """Note a loss that a trader cannot pay."""
        return replace(self, shortfall=UsdcE6(self.shortfall + amount))

    def with_interest(self, identity: PositionId, size: int, basis_sum: int) -> Action:
        """Move the aggregates of the position's side by what the position moves."""
        _, market, _ = split_position_id(identity)
        found = self.book.market(market)
        side = self.book.position(identity).side
        held = found.side(side)
        moved = replace(held, size=SizeE18(held.size + size), basis_sum=held.basis_sum + basis_sum)
        return self.with_market(market, with_side(found, side, moved))

    def done(self, pulled: int = 0) -> Book:
        """End the action: the pool takes or gives what traders are owed less or more.

        `pulled`: tokens that came in from a wallet, below 0 those that went out.
        """
        to_pool = pulled - (self.book.credited - self.start.credited) - self.to_insurance
        if not (to_pool or self.to_insurance or self.shortfall):
            return self.book
        settled = settle_pool(self.book.pool, to_pool, self.to_insurance, self.shortfall)
        if not isinstance(settled, Settled):
            raise Refused(settled.refusal)
        return replace(self.book, pool=settled.state)


def begin(book: Book) -> Action:
    """Begin an action."""
    return Action(start=book, book=book)


def with_side(market: MarketBook, side: int, after: SideBook) -> MarketBook:
    """Put a side into its market."""
    return replace(market, long=after) if side == LONG else replace(market, short=after)


def after_cuts(position: Position, side: SideBook) -> tuple[Position, UsdcE6]:
    """Give what cuts have left of a position since it was stored, and what they paid it."""
    if position.cuts == side.number or position.size == 0:
        return position, NOTHING
    then, now = side.cuts[position.cuts], side.cuts[-1]
    size = size_after_cuts(position.size, then, now)
    cash = cash_of_cuts(position.side, position.size, position.basis, then, now)
    return replace(position, size=size, cuts=side.number), cash


def touch(action: Action, identity: PositionId) -> Action:
    """Bring a position up to the cuts of its side: size, and cash out of the market's pot.

    An isolated one pays a loss out of its collateral; what that lacks is a shortfall. Of a size
    that the cuts rounded away nothing stays open; the list of its account is the caller's to keep.
    """
    account, market, mode = split_position_id(identity)
    stored = action.book.position(identity)
    if stored.size == 0:
        return action
    found = action.book.market(market)
    position, cash = after_cuts(stored, found.side(stored.side))
    if position is stored:
        return action
    action = action.with_market(market, replace(found, pot=found.pot - cash))
    if mode == CROSS:
        action = action.with_balance(account, cash)
    else:
        left = stored.collateral + cash
        action = action.short_of(max(0, -left))
        position = replace(position, collateral=UsdcE6(max(0, left)))
    if position.size == 0:
        action = action.with_balance(account, position.collateral)
        position = closed(position)
    return action.with_position(identity, position)


def closed(position: Position) -> Position:
    """Give what is kept of a position that is gone."""
    return replace(CLOSED, version=position.version)


def reduced(action: Action, identity: PositionId, size: SizeE18, collateral: UsdcE6) -> Action:
    """Take a part off a position, leave it this collateral; aggregates follow."""
    position = action.book.position(identity)
    action = action.with_interest(identity, -size, -size * position.basis)
    if size == position.size:
        return action.with_position(identity, closed(position))
    rest = SizeE18(position.size - size)
    return action.with_position(identity, replace(position, size=rest, collateral=collateral))


def listed(action: Action, identity: PositionId) -> Action:
    """Keep the account's list of open cross positions: the last one moves into a hole."""
    account, market, mode = split_position_id(identity)
    if mode != CROSS:
        return action
    held = action.book.account(account)
    is_open = action.book.position(identity).size > 0
    if is_open == (market in held.markets):
        return action
    if is_open:
        if len(held.markets) == MAX_CROSS:
            raise Refused(Refusal.TOO_MANY_POSITIONS)
        markets = (*held.markets, market)
    else:
        place, last = held.markets.index(market), held.markets[-1]
        markets = (*held.markets[:place], last, *held.markets[place + 1 :])[: len(held.markets) - 1]
    return action.with_account(account, replace(held, markets=markets))


def forgiven(action: Action, account: Account) -> Action:
    """End the debt of an account whose last cross position is gone: insurance and pool bear it."""
    held = action.book.account(account)
    if held.markets or held.balance >= 0:
        return action
    return action.short_of(-held.balance).with_balance(account, -held.balance)
