"""What each event of the margin contracts changes in the index's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from contracts.book_words import decode_position
from contracts.margin import SizeE18
from contracts.margin_sides import Cut, sums_after_cut
from relayer.chain import index_lives
from relayer.chain.index_events import IndexEvent
from relayer.chain.index_ledger import (
    ASSETS,
    DEPOSIT,
    FLOW,
    INSURANCE_SHARES,
    INSURED,
    LONG_SUM,
    PENDING,
    POOL,
    POT,
    REDEEM,
    RULES,
    SETTLEMENT,
    SHARES,
    SHORT_SUM,
    SIZES,
    Ledger,
    Table,
    cut_key,
)

ADJUSTED_BIT: Final = 1 << 250  # of a position's first word: the third one counts


def take(ledger: Ledger, event: IndexEvent) -> None:
    """Take one event into the ledger; one that changes nothing there is passed over."""
    taker = _TAKERS.get(event.name)
    if taker is not None:
        taker(ledger, *event.fields)


def _balance_changed(ledger: Ledger, account: int, balance: int) -> None:
    word, _ = ledger.get(Table.ACCOUNT, account)
    ledger.put(Table.ACCOUNT, account, (word, balance))


def _account_changed(ledger: Ledger, account: int, word: int) -> None:
    _, balance = ledger.get(Table.ACCOUNT, account)
    ledger.put(Table.ACCOUNT, account, (word, balance))


def _position_changed(ledger: Ledger, identity: int, word0: int, word1: int) -> None:
    words = ledger.get(Table.POSITION, identity)
    market, old = identity >> 8 & 0xFFFF, decode_position(words)
    if old.size:
        size = ledger.touched.pop(identity, old.size)
        _add_to_sum(ledger, market, long=old.long, change=-size * old.basis)
    after = (word0, word1, words[2] if word0 & ADJUSTED_BIT else 0)
    ledger.put(Table.POSITION, identity, after)
    new = decode_position(after)
    _add_to_sum(ledger, market, long=new.long, change=new.size * new.basis)


def _position_ramped(ledger: Ledger, identity: int, word2: int) -> None:
    word0, word1, _ = ledger.get(Table.POSITION, identity)
    ledger.put(Table.POSITION, identity, (word0, word1, word2))


def _market_changed(ledger: Ledger, market: int, sizes: int, flow: int) -> None:
    _set_market(ledger, market, {SIZES: sizes, FLOW: flow})


def _rules_changed(ledger: Ledger, market: int, rules: int) -> None:
    _set_market(ledger, market, {RULES: rules})


def _settlement_begun(ledger: Ledger, market: int, price: int) -> None:
    _set_market(ledger, market, {SETTLEMENT: price})


def _cuts_applied(ledger: Ledger, identity: int, size: int, cash: int) -> None:
    market = identity >> 8 & 0xFFFF
    _set_market(ledger, market, {POT: ledger.get(Table.MARKET, market)[POT] - cash})
    ledger.touched[identity] = size


def _side_cut(ledger: Ledger, market: int, long: int, number: int, *facts: int) -> None:
    keep_e27, cash, payout = facts
    keep_before, cash_before = ledger.get(Table.CUT, cut_key(market, long, number - 1))
    then = Cut(keep_e27=keep_before, cash=cash_before)
    now = Cut(keep_e27=keep_e27, cash=cash)
    ledger.put(Table.CUT, cut_key(market, long, number), (keep_e27, cash))
    row = ledger.get(Table.MARKET, market)
    place = LONG_SUM if long else SHORT_SUM
    _, after = sums_after_cut(1 if long else -1, SizeE18(0), row[place], then, now)
    _set_market(ledger, market, {place: after, POT: row[POT] + payout})


def _add_to_sum(ledger: Ledger, market: int, *, long: bool, change: int) -> None:
    place = LONG_SUM if long else SHORT_SUM
    _set_market(ledger, market, {place: ledger.get(Table.MARKET, market)[place] + change})


def _set_market(ledger: Ledger, market: int, fields: Mapping[int, int]) -> None:
    row = ledger.get(Table.MARKET, market)
    ledger.put(Table.MARKET, market, tuple(fields.get(n, old) for n, old in enumerate(row)))


def _requested(ledger: Ledger, identity: int, account: int, market: int, *rest: int) -> None:
    del account, market  # they are in the struct, too
    ledger.put(Table.REQUEST, identity, rest[1:])


def _request_ended(ledger: Ledger, identity: int, *_: int) -> None:
    ledger.put(Table.REQUEST, identity, None)


def _settled(ledger: Ledger, to_pool: int, to_insurance: int) -> None:
    _add_to_pool(ledger, {ASSETS: to_pool, INSURED: to_insurance})


def _loss_shared(ledger: Ledger, _shortfall: int, covered: int, drawn: int) -> None:
    _add_to_pool(ledger, {ASSETS: covered + drawn, INSURED: -covered - drawn})


def _insured(ledger: Ledger, _sender: int, amount: int) -> None:
    _add_to_pool(ledger, {INSURED: amount})


def _deposit_requested(
    ledger: Ledger, identity: int, owner: int, tranche: int, amount: int, ready_at_s: int
) -> None:
    ledger.put(Table.LIQUIDITY, identity, (DEPOSIT, owner, tranche, amount, ready_at_s))
    _add_to_pool(ledger, {PENDING: amount})


def _deposit_executed(
    ledger: Ledger, identity: int, _owner: int, tranche: int, amount: int, shares: int
) -> None:
    ledger.put(Table.LIQUIDITY, identity, None)
    _add_to_pool(ledger, {PENDING: -amount})
    _move_tranche(ledger, tranche, amount, shares)


def _deposit_cancelled(
    ledger: Ledger, identity: int, _owner: int, _tranche: int, amount: int
) -> None:
    ledger.put(Table.LIQUIDITY, identity, None)
    _add_to_pool(ledger, {PENDING: -amount})


def _redeem_requested(
    ledger: Ledger, identity: int, owner: int, tranche: int, shares: int, ready_at_s: int
) -> None:
    ledger.put(Table.LIQUIDITY, identity, (REDEEM, owner, tranche, shares, ready_at_s))


def _redeem_executed(
    ledger: Ledger, identity: int, _owner: int, tranche: int, shares: int, amount: int
) -> None:
    ledger.put(Table.LIQUIDITY, identity, None)
    _move_tranche(ledger, tranche, -amount, -shares)


def _redeem_cancelled(ledger: Ledger, identity: int, *_: int) -> None:
    ledger.put(Table.LIQUIDITY, identity, None)


def _move_tranche(ledger: Ledger, tranche: int, amount: int, shares: int) -> None:
    own, supply = (ASSETS, SHARES) if tranche == POOL else (INSURED, INSURANCE_SHARES)
    _add_to_pool(ledger, {own: amount, supply: shares})


def _add_to_pool(ledger: Ledger, changes: Mapping[int, int]) -> None:
    row = ledger.get(Table.POOL, 0)
    ledger.put(Table.POOL, 0, tuple(old + changes.get(n, 0) for n, old in enumerate(row)))


_TAKERS: Final[Mapping[str, Callable[..., None]]] = {
    "BalanceChanged": _balance_changed,
    "AccountChanged": _account_changed,
    "PositionChanged": _position_changed,
    "PositionRamped": _position_ramped,
    "MarketChanged": _market_changed,
    "RulesChanged": _rules_changed,
    "SettlementBegun": _settlement_begun,
    "CutsApplied": _cuts_applied,
    "SideCut": _side_cut,
    "Requested": _requested,
    "Settled": _settled,
    "LossShared": _loss_shared,
    "Insured": _insured,
    "DepositRequested": _deposit_requested,
    "DepositExecuted": _deposit_executed,
    "DepositCancelled": _deposit_cancelled,
    "RedeemRequested": _redeem_requested,
    "RedeemExecuted": _redeem_executed,
    "RedeemCancelled": _redeem_cancelled,
    "Filled": index_lives.filled,
    "Liquidation": index_lives.liquidated,
    "PositionSettled": index_lives.settled,
    "Executed": _request_ended,
    "Cancelled": _request_ended,
}
