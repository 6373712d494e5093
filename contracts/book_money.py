"""Money in and out of a book: deposits, withdrawals, isolated margin, escrow and promised fees.

What stays after any withdrawal is at least the locked margin, at prices widened by their
confidence; adding margin and depositing are never paused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from contracts.book import Book, Refused
from contracts.book_action import Action, begin, touch
from contracts.book_margin import MarketNow, cross_margin, is_safe, market_now, standing
from contracts.book_readings import MAY_WITHDRAW, Readings
from contracts.book_words import (
    CROSS,
    ISOLATED,
    MAX_COLLATERAL,
    MAX_PROMISED,
    Account,
    Position,
    PositionId,
    position_id,
)
from contracts.margin_account import locked_margin
from contracts.pool import MAX_AMOUNT
from contracts.refusals import Refusal
from contracts.units import MarketId, UsdcE6


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the desk has the engine hold for a request; `nonce` 0 where it needs no terms."""

    account: Account
    market: MarketId
    mode: int
    fee: UsdcE6
    margin: UsdcE6
    nonce: int = 0


def deposit(book: Book, account: Account, amount: UsdcE6) -> Book:
    """Add tokens from the account's wallet to its balance; a debt is paid first."""
    _check_amount(amount)
    return begin(book).with_balance(account, amount).done(amount)


def withdraw(book: Book, readings: Readings, account: Account, amount: UsdcE6) -> Book:
    """Pay tokens from the balance to the account's wallet."""
    _check_amount(amount)
    if not readings.withdrawals_open:
        raise Refused(Refusal.WITHDRAWALS_PAUSED)
    _check_free(book, readings, account, amount, pauses=True)
    return begin(book).with_balance(account, -amount).done(-amount)


def add_margin(
    book: Book,
    readings: Readings,
    identity: PositionId,
    amount: UsdcE6,
    *,
    from_wallet: bool,
) -> Book:
    """Add to an isolated position's collateral, from the wallet or from the balance."""
    _check_amount(amount)
    account = Account(identity >> 24)
    action = touch(begin(book), identity)
    position = _open_isolated(action, identity)
    if not from_wallet:
        _check_free(action.book, readings, account, amount, pauses=False)
        action = action.with_balance(account, -amount)
    collateral = position.collateral + amount
    if collateral > MAX_COLLATERAL:
        raise Refused(Refusal.AMOUNT_OUT_OF_RANGE)
    action = action.with_position(identity, replace(position, collateral=UsdcE6(collateral)))
    return action.done(amount if from_wallet else 0)


def remove_margin(
    book: Book, readings: Readings, account: Account, market: MarketId, amount: UsdcE6
) -> Book:
    """Take from an isolated position's collateral into the balance."""
    _check_amount(amount)
    identity = position_id(account, market, ISOLATED)
    action = touch(begin(book), identity)
    position = _open_isolated(action, identity)
    if not readings.withdrawals_open:
        raise Refused(Refusal.WITHDRAWALS_PAUSED)
    _check_ready(market_now(book, readings, market))
    own = standing(action.book, readings, identity)
    left = own.equity - own.widening - amount
    locked = locked_margin(own.initial, own.notional)
    if position.collateral < amount or left < locked:
        raise Refused(Refusal.MARGIN_LOCKED)
    rest = replace(position, collateral=UsdcE6(position.collateral - amount))
    return action.with_position(identity, rest).with_balance(account, amount).done()


def hold(book: Book, readings: Readings, holding: Holding) -> Book:
    """Use terms up, and hold what a request costs: in escrow, or as a cross account's promise.

    A close, which needs no terms, may be owed for by an account that stays above maintenance; else
    an isolated one's fee comes out of its collateral.
    """
    action = begin(book)
    account = holding.account
    if holding.nonce:
        action = use_nonce(action, account, holding.nonce)
    held = action.book.account(account)
    amount = UsdcE6(holding.fee + holding.margin)
    promised = UsdcE6(held.promised + amount)
    is_cross = holding.mode == CROSS
    if holding.nonce and not is_cross:
        _check_free(book, readings, account, amount, pauses=False)
    elif not (is_cross and held.balance >= promised) and (
        holding.nonce or not _can_pay(book, readings, account, promised)
    ):
        if holding.nonce or is_cross:
            raise Refused(Refusal.BALANCE_SHORT)
        return _held_from_margin(action, readings, holding)
    if not is_cross:
        return action.with_balance(account, -amount).with_escrow(amount).done()
    if promised > MAX_PROMISED:
        raise Refused(Refusal.AMOUNT_OUT_OF_RANGE)
    return action.with_account(account, replace(held, promised=promised)).done()


def _held_from_margin(action: Action, readings: Readings, holding: Holding) -> Book:
    """Escrow the fee of an isolated position's close out of its collateral."""
    identity = position_id(holding.account, holding.market, ISOLATED)
    action = touch(action, identity)
    position = _open_isolated(action, identity)
    collateral = position.collateral - holding.fee
    if collateral < 0:
        raise Refused(Refusal.BALANCE_SHORT)
    rest = replace(position, collateral=UsdcE6(collateral))
    action = action.with_position(identity, rest).with_escrow(holding.fee)
    if not is_safe(action.book, readings, identity):
        raise Refused(Refusal.WOULD_BE_LIQUIDATABLE)
    return action.done()


def unhold(book: Book, readings: Readings, holding: Holding) -> Book:
    """Give a lapsed request's margin back; its fee goes to insurance.

    A cross account's promise is taken only where it can be paid without anything becoming
    liquidatable.
    """
    action = begin(book)
    account, fee = holding.account, holding.fee
    if holding.mode != CROSS:
        action = action.with_escrow(-(fee + holding.margin))
        return action.with_balance(account, holding.margin).insured(fee).done()
    action = unpromised(action, account, fee)
    if not _can_pay(action.book, readings, account, fee):
        return action.done()
    return action.with_balance(account, -fee).insured(fee).done()


def use_nonce(action: Action, account: Account, nonce: int) -> Action:
    """Use terms up: each nonce is above the last."""
    held = action.book.account(account)
    if nonce <= held.nonce:
        raise Refused(Refusal.TERMS_USED)
    return action.with_account(account, replace(held, nonce=nonce))


def unpromised(action: Action, account: Account, fee: UsdcE6) -> Action:
    """End a promise."""
    held = action.book.account(account)
    return action.with_account(account, replace(held, promised=UsdcE6(held.promised - fee)))


def _check_amount(amount: UsdcE6) -> None:
    """Refuse nothing, and what no token could have."""
    if amount == 0:
        raise Refused(Refusal.AMOUNT_ZERO)
    if amount > MAX_AMOUNT:
        raise Refused(Refusal.AMOUNT_OUT_OF_RANGE)


def _open_isolated(action: Action, identity: PositionId) -> Position:
    position = action.book.position(identity)
    if position.size == 0:
        raise Refused(Refusal.NO_POSITION)
    return position


def _check_ready(now: MarketNow) -> None:
    """Refuse to take margin out at a price that may not carry it, or where that is paused."""
    if not now.ready:
        raise Refused(Refusal.PRICE_NOT_READY)
    if not now.allows(MAY_WITHDRAW):
        raise Refused(Refusal.WITHDRAWALS_PAUSED)


def _can_pay(book: Book, readings: Readings, account: Account, fee: UsdcE6) -> bool:
    """Tell whether an account can pay a fee without anything becoming liquidatable by it.

    One without cross positions pays out of its balance.
    """
    sums = cross_margin(book, readings, account)
    return sums.equity - fee >= sums.maintenance


def _check_free(
    book: Book, readings: Readings, account: Account, amount: int, *, pauses: bool
) -> None:
    """Refuse what the balance, less promises, does not hold, or what open cross positions lock."""
    held = book.account(account)
    if held.balance - held.promised < amount:
        raise Refused(Refusal.BALANCE_SHORT)
    if not held.markets:
        return
    sums = cross_margin(book, readings, account)
    if not sums.ready:
        raise Refused(Refusal.PRICE_NOT_READY)
    if pauses and not sums.permissions & MAY_WITHDRAW:
        raise Refused(Refusal.WITHDRAWALS_PAUSED)
    left = sums.equity - sums.widening - amount - held.promised
    if left < locked_margin(sums.initial, sums.notional):
        raise Refused(Refusal.MARGIN_LOCKED)
