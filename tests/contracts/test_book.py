"""The book's invariants, over random histories of all entry points and one property at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import book_closing, book_desk, book_money
from contracts.book import Book, Refused
from contracts.book_margin import cross_margin, health
from contracts.book_words import (
    CROSS,
    Position,
    decode_account,
    decode_position,
    encode_account,
    encode_position,
    position_id,
    split_position_id,
)
from contracts.margin import LONG, SHORT
from contracts.refusals import Refusal
from tests.contracts.books import (
    ACCOUNTS,
    KEEPER,
    Walk,
    at_price,
    check_sums,
    opened_book,
    owed,
    pool_worth,
    readings,
    trade,
)
from tests.contracts.margins import PROVEN, e18, usd

STEPS = 2_500


def lost_by(before: Book, after: Book, seen) -> int:
    """What positions that are gone could not pay, at the prices of the action."""
    lost = 0
    for identity, stored in before.positions.items():
        if stored.size and after.position(identity) != stored:
            found = health(before, seen, identity)
            gone = after.position(identity).size == 0
            lost += max(0, -found.equity) if gone else 0
            touched = book_closing.catch_up(before, identity)
            lost += before.pool.insurance + before.pool.assets - touched.pool.insurance
            lost -= touched.pool.assets
    return lost


def check_words(book: Book) -> None:
    """What is stored comes back from its words."""
    for position in book.positions.values():
        kept = position if position.size else Position(version=position.version)
        assert position == kept == decode_position(encode_position(position))
    for account in book.accounts.values():
        assert decode_account(encode_account(account), account.balance) == account


def check_others_untouched(name: str, before: Book, after: Book) -> None:
    """A liquidation or action changes one account; an isolated one no other of its positions."""
    if name not in {"liquidate", "act"}:
        return
    changed = [
        identity
        for identity in {*before.positions, *after.positions}
        if before.position(identity) != after.position(identity)
    ]
    assert len(changed) <= 1
    for identity in changed:
        account, _, mode = split_position_id(identity)
        for other in ACCOUNTS:
            same = before.account(other) == after.account(other)
            assert same or other == account
        if mode != CROSS:
            rise = after.account(account).balance - before.account(account).balance
            assert rise >= 0
            assert after.account(account).markets == before.account(account).markets


def walk_and_check(walk: Walk, steps: int) -> None:
    for _ in range(steps):
        before = walk.book
        name = walk.step()
        after = walk.book
        check_sums(after)
        pool = after.pool
        assert walk.tokens == after.credited + pool.assets + pool.insurance
        check_others_untouched(name, before, after)
        if name != "pass_time" and after is not before:
            fall = pool_worth(before, walk.seen) - pool_worth(after, walk.seen)
            assert fall <= 3 + max(0, lost_by(before, after, walk.seen))
    check_words(walk.book)


@pytest.mark.parametrize("seed", [4, 5, 11])
def test_walk__any_history__keeps_every_sum_and_takes_nothing_from_the_pool(seed):
    walk = Walk(seed)
    walk_and_check(walk, STEPS)
    assert {"execute", "liquidate", "retune", "withdraw"} <= set(walk.done)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
def test_walk__long_histories__keep_every_sum(seed):
    walk_and_check(Walk(seed), STEPS)


@pytest.mark.parametrize("seed", [4, 21])
def test_walk__wound_down__pays_everybody_out(seed):
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
    dead = replace(walk.seen, now_s=walk.seen.now_s + 200_000)
    book = walk.book
    for request in book.requests:
        book = book_desk.cancel(book, dead, request)
    for market in book.markets:
        book = book_closing.begin_settlement(book, dead, market)
    for identity, position in dict(book.positions).items():
        if position.size:
            book = book_closing.settle(book, dead, identity)
    for account, held in dict(book.accounts).items():
        if held.balance:
            book = book_money.withdraw(book, dead, account, held.balance)
    assert book.debts == book.escrow == 0
    pots = [each.pot for each in book.markets.values()]
    assert book.credited == sum(pots)
    assert all(0 <= pot < 1_000 for pot in pots)  # roundings of cuts, a unit each
    dust = [each.long.size + each.short.size for each in book.markets.values()]
    assert max(dust) < 1_000


notionals = st.integers(20, 100_000)
moves = st.integers(-40, 40)


@PROVEN
@given(notionals, st.sampled_from([LONG, SHORT]), moves)
def test_position__opened_and_settled__gives_its_profit_and_nobody_else_s(notional, side, percent):
    book, seen = trade(opened_book(), readings(), side, notional)
    identity = position_id(ACCOUNTS[0], 0, 1)
    seen = at_price(seen, e18(100 + percent))
    profit = health(book, seen, identity).standing.profit
    collateral = book.position(identity).collateral
    dead = replace(seen, now_s=seen.now_s + 90_000)
    settled = book_closing.begin_settlement(book, dead, 0)
    drift = health(settled, dead, identity).standing.profit - profit  # of funding
    after = book_closing.settle(settled, dead, identity)
    gained = after.account(ACCOUNTS[0]).balance - book.account(ACCOUNTS[0]).balance
    assert gained == max(0, collateral + profit + drift)
    assert after.credited == owed(after)


@PROVEN
@given(notionals)
def test_withdraw__of_a_closed_account__is_all_it_has(notional):
    book = book_money.deposit(opened_book(), ACCOUNTS[0], usd(notional))
    after = book_money.withdraw(book, readings(), ACCOUNTS[0], usd(notional))
    assert after.account(ACCOUNTS[0]).balance == after.credited == 0
    assert after.pool == book.pool


@PROVEN
@given(st.integers(100, 50_000), st.integers(0, 20))
def test_withdraw__from_a_cross_account__leaves_what_is_locked(notional, percent):
    change = {"mode": CROSS, "margin": usd(notional)}
    book, seen = trade(opened_book(), readings(), LONG, notional, **change)
    seen = at_price(seen, e18(100 + percent))
    sums = cross_margin(book, seen, ACCOUNTS[0])
    locked = max(sums.initial, -(-sums.notional // 10))
    most = min(sums.balance, sums.equity - sums.widening - locked)
    after = book_money.withdraw(book, seen, ACCOUNTS[0], most)
    assert cross_margin(after, seen, ACCOUNTS[0]).equity >= locked
    with pytest.raises(Refused) as caught:
        book_money.withdraw(book, seen, ACCOUNTS[0], most + 1)
    assert caught.value.refusal in {Refusal.MARGIN_LOCKED, Refusal.BALANCE_SHORT}


def test_debt__of_a_cross_account__is_repaid_by_a_deposit_first():
    change = {"mode": CROSS, "margin": usd(120)}
    book, seen = trade(opened_book(), readings(), LONG, 1_000, **change)
    seen = at_price(seen, e18(50))
    held = book.account(ACCOUNTS[0])
    owing = replace(held, balance=-usd(30))
    book = replace(
        book,
        accounts={**book.accounts, ACCOUNTS[0]: owing},
        credited=book.credited - held.balance,
        debts=usd(30),
    )
    after = book_money.deposit(book, ACCOUNTS[0], usd(50))
    assert after.debts == 0
    assert after.account(ACCOUNTS[0]).balance == usd(20)
    assert after.pool.assets == book.pool.assets + usd(30)
    assert after.account(KEEPER) == book.account(KEEPER)
