"""What must hold after every call on the margin contracts, whoever made it.

Each law is asked of the book that the contracts were just compared with, word by word, and of the
contracts themselves where the book cannot know: tokens, and the engine's own sums of an account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from contracts.book import Book, Order, Refused, Request
from contracts.book_margin import cross_margin, cross_standings, market_now, standing
from contracts.book_readings import Readings
from contracts.book_trades import execute as execute_order
from contracts.book_views import DUST, exposure
from contracts.book_words import (
    CROSS,
    ISOLATED,
    Account,
    PositionId,
    account_number,
    position_id,
    split_position_id,
)
from contracts.margin import LONG, SHORT, charge, is_liquidatable
from contracts.margin_account import locked_margin
from contracts.margin_sides import side_numerator
from contracts.pool import VIRTUAL_SHARES, Tranche, leave
from contracts.pool import Refused as PoolRefused
from contracts.refusals import Refusal
from contracts.units import UnixMs
from tests.contracts.books import LOST, check_sums
from tests.contracts.chain import Contract
from tests.contracts.fuzz import Walk
from tests.contracts.lockstep import changed, signed

UNIT = 10**30  # of USDC x 10^6, in what a size times a price is
CLOSES = {"liquidate", "liquidate_signed", "deleverage"}
RISKY = {
    "adjust",
    "cancel",
    "catch_up",
    "deleverage_side",
    "remove_margin",
    "request_close",
    "request_open",
    "settle",
    "withdraw",
}


class Watched(Walk):
    """A walk that asks every law after every call that succeeded."""

    def __init__(self, seed: int) -> None:
        self.gifts = {"vault": 0, "pool": 0}
        self.asked: dict[str, int] = {}
        self.executor = Account(0)
        super().__init__(seed)

    def do(
        self,
        operation: str,
        call: tuple[str, Contract, str, bytes],
        model: Callable[[], Book],
    ) -> Refusal | None:
        before = self.book
        refusal = super().do(operation, call, model)
        if refusal is None and before is not self.book:
            self.judge(operation, call, before)
        return refusal

    def counted(self, law: str) -> None:
        self.asked[law] = self.asked.get(law, 0) + 1

    def judge(self, operation: str, call: tuple[str, Contract, str, bytes], before: Book) -> None:
        """Ask what must hold after any call, and after this one."""
        book = self.book
        if operation.startswith("sweep"):
            self.gifts[operation.split()[1]] = 0
            assert book.pool == replace(before.pool, insurance=book.pool.insurance)
        check_sums(book)
        self.tokens_cover()
        if operation in CLOSES:
            caller = next(a for a, name in self.addresses.items() if name == call[0])
            self.closes_one(before, caller, is_penal=operation != "deleverage")
        elif operation == "execute":
            self.executor = account_number(call[0])
            self.executed(before)
        elif operation == "change_terms":
            for identity in changed(before.positions, book.positions):
                assert not self.is_liquidatable(identity), "new terms made it liquidatable"
        elif operation in {"execute_deposit", "execute_redeem"}:
            self.shares_keep(before)
        if operation in {"deleverage_side", "catch_up", "change_terms", "adjust"}:
            self.cut_is_fair(before)
        if operation in RISKY or self.calls % 7 == 0:
            self.endangers_nobody(before)
        if operation in {"withdraw", "remove_margin"}:
            self.locked_stays(operation, before)
        self.waits(operation, before)

    def donate(self, to: str, amount: int) -> None:
        before = (self.pool_state(), self.read(self.world.pool, "totalAssets"))
        super().donate(to, amount)
        self.gifts["vault" if to == self.world.vault.address else "pool"] += amount
        assert (self.pool_state(), self.read(self.world.pool, "totalAssets")) == before
        self.tokens_cover()

    # tokens

    def tokens_cover(self) -> None:
        """What is owed is there, and nothing else but what was given for nothing."""
        book, world = self.book, self.world
        pool = book.pool.assets + book.pool.insurance + book.pool.pending
        assert self.held_tokens(world.vault.address) == book.credited + self.gifts["vault"]
        assert self.held_tokens(world.pool.address) == pool + self.gifts["pool"]
        self.counted("tokens")

    # a trader's own actions

    def executed(self, before: Book) -> None:
        """Whoever traded is not liquidatable by it, and a rest is large enough to be."""
        (request,) = before.requests - self.book.requests
        identity = position_id(request.account, request.market, request.mode)
        assert not self.is_liquidatable(identity), "liquidatable right after its own order"
        self.counted("own order")
        self.in_limits(before, request, identity)
        if self.calls % 3 == 0:
            self.costs_what_it_says(before, request, identity)
            self.splitting_is_dearer(before, request)

    def costs_what_it_says(self, before: Book, request: Request, identity: PositionId) -> None:
        """At the mark an order changes what a trader owns by its costs, and by nothing else."""
        _, fill = execute_order(before, self.seen, order_of(request))
        held = 0 if request.mode == CROSS else request.margin + request.fee
        paid = owned(before, self.seen, identity) + held - owned(self.book, self.seen, identity)
        asked = fill.costs.total + request.fee
        asked -= request.fee if self.executor == request.account else 0
        assert 0 <= paid - asked <= 3, f"an order of costs {asked} took {paid}"
        self.counted("costs")

    def cut_is_fair(self, before: Book) -> None:
        """A cut at the mark takes and gives nobody anything."""
        for identity in self.held():
            was, now = (owned(each, self.seen, identity) for each in (before, self.book))
            # A size that is rounded down may spare a loser less than a unit.
            count = 1 + len(self.book.account(split_position_id(identity)[0]).markets)
            assert was < 0 or -count <= was - now <= 2 * count, f"a cut moved {now - was}"
        self.counted("cuts")

    def waits(self, operation: str, before: Book) -> None:
        """A grace that begins closes nothing; a close that waits costs its fee."""
        if operation == "request_close" and changed(before.positions, self.book.positions):
            self.fee_from_margin(before)
        if changed(before.graces, self.book.graces):
            assert self.book.positions is before.positions, "a grace closed something"
            self.counted("grace")

    def fee_from_margin(self, before: Book) -> None:
        """A close's fee comes out of its own position only, which stays above maintenance."""
        (identity,) = changed(before.positions, self.book.positions)
        (request,) = self.book.requests - before.requests
        assert identity == position_id(request.account, request.market, request.mode)
        assert not self.is_liquidatable(identity), "its fee made it liquidatable"
        assert self.book.account(request.account) == before.account(request.account)
        self.counted("fee from margin")

    def in_limits(self, before: Book, request: Request, identity: PositionId) -> None:
        """What grew a side stays within the signed cap, and the pool's share."""
        book, seen = self.book, self.seen
        was, held = before.position(identity), book.position(identity)
        grew = held.size > 0 and (was.long != held.long or held.size > was.size or not was.size)
        if request.reduce_only or not grew:
            return
        now = market_now(book, seen, request.market)
        rules, assets = now.book.rules, before.pool.assets
        side = now.book.side(held.side).size * now.price
        cap = min(now.limits.open_interest_cap, assets * rules.interest_share_ppm // 10**6)
        assert side <= cap * 10**30, "a side grew beyond the cap, or the pool's share"
        skew, old = abs(now.book.skew), abs(before.markets[request.market].skew)
        if skew > old and was.size == 0:
            assert skew * now.price <= assets * rules.skew_share_ppm * 10**24, "skew beyond share"
        self.counted("limits")

    def splitting_is_dearer(self, before: Book, request: Request) -> None:
        """Two orders of half the size never cost less than one."""
        first = request.size // 3
        if not first:
            return
        part = replace(request, size=first, margin=request.margin // 3)
        rest = replace(
            request, size=request.size - first, margin=request.margin - part.margin, fee=0
        )
        try:
            _, whole = execute_order(before, self.seen, order_of(request))
            book, one = execute_order(before, self.seen, order_of(part))
            _, two = execute_order(book, self.seen, order_of(rest))
        except Refused:
            return
        if whole.closed + whole.opened == one.closed + one.opened + two.closed + two.opened:
            assert one.costs.total + two.costs.total >= whole.costs.total, "splitting is cheaper"
            self.counted("splitting")

    def endangers_nobody(self, before: Book) -> None:
        """Nobody is liquidatable now who was not before."""
        for identity in self.all_liquidatable():
            assert liquidatable_in(before, self.seen, identity), "it made somebody liquidatable"
        self.counted("nobody endangered")

    def locked_stays(self, operation: str, before: Book) -> None:
        """By the engine's own sums, what is locked is still there."""
        if operation == "remove_margin":
            (identity,) = changed(before.positions, self.book.positions)
            own = standing(self.book, self.seen, identity)
            left, locked = own.equity - own.widening, locked_margin(own.initial, own.notional)
        else:
            (account,) = changed(before.accounts, self.book.accounts)
            found = self.read(self.world.engine, "account_margin", account)
            left = signed(found[1]) - found[6] - self.book.account(account).promised
            locked = locked_margin(found[3], found[5])
        assert left >= locked, "what is locked was withdrawn"
        self.counted("locked")

    # liquidation

    def closes_one(self, before: Book, caller: Account, *, is_penal: bool) -> None:
        """A liquidation closes a part of one position, and touches nobody else."""
        book = self.book
        closed = changed(before.positions, book.positions)
        if not closed:
            assert before.accounts is book.accounts
            assert before.pool == book.pool
            return
        (identity,) = closed
        account, market, mode = split_position_id(identity)
        was, held = standing(before, self.seen, identity), book.position(identity)
        size = was.position.size - held.size
        assert size > 0, "nothing was closed"
        assert set(changed(before.accounts, book.accounts)) <= {account, caller}
        assert set(changed(before.markets, book.markets)) == {market}
        gained = book.account(caller).balance - before.account(caller).balance
        rules = before.markets[market].rules
        if caller != account:
            most = charge(size, was.now.price, rules.penalty_max_ppm)
            assert 0 <= gained <= min(rules.reward, most), "the caller earns more than the penalty"
        if mode == ISOLATED:
            lost = before.account(account).balance - book.account(account).balance
            assert lost <= 0, "an isolated position took from the balance"
        self.losses_in_order(before, identity)
        had, has = (owned(each, self.seen, identity) for each in (before, book))
        forgiven = max(0, -was.equity) if mode == ISOLATED else max(0, -had)
        assert has <= had + forgiven + 3, "somebody gained by being liquidated"
        if is_penal:
            most = charge(size, was.now.price, rules.penalty_max_ppm)
            own_reward = min(rules.reward, most) if caller == account else 0
            self.is_no_cheaper_close(before, identity, size, own_reward)
        self.counted("liquidation")

    def losses_in_order(self, before: Book, identity: PositionId) -> None:
        """Insurance pays only where the trader has nothing left, and the pool after insurance."""
        book = self.book
        account, _, mode = split_position_id(identity)
        was = standing(before, self.seen, identity)
        owner, pool = book.account(account), book.pool
        if pool.insurance < before.pool.insurance and was.profit <= 0:
            assert book.position(identity).size == 0, "insurance paid for what is still open"
            if mode == CROSS:
                assert (owner.balance, owner.markets) == (0, ()), "insurance paid before the trader"
            else:
                assert owner.balance == before.account(account).balance
        if was.profit <= 0 and pool.insurance > 0 and mode == ISOLATED and was.cash >= 0:
            assert pool.assets >= before.pool.assets, "the pool paid before insurance"

    def is_no_cheaper_close(
        self, before: Book, identity: PositionId, size: int, own_reward: int
    ) -> None:
        """Who is liquidated is left with no more than a close of as much leaves him.

        The reward apart, where he called himself: it is for the call, which anybody may make.
        """
        account, market, mode = split_position_id(identity)
        held = before.position(identity)
        order = replace(
            NO_ORDER,
            account=account,
            market=market,
            mode=mode,
            long=not held.long,
            size=size,
            acceptable_price=0 if held.long else 2**256 - 1,
        )
        try:
            closed, _ = execute_order(before, self.seen, order)
        except Refused:
            return
        left = wealth(self.book, self.seen, identity) - own_reward
        assert left <= wealth(closed, self.seen, identity), "liquidated cheaper than by a close"
        self.counted("no cheaper close")

    # the pool

    def shares_keep(self, before: Book) -> None:
        """Those who stay lose nothing to those who enter or leave.

        Worth is exact here, W: assets and debts less profit x, no rounding, at the mark. The pool
        floors each side's profit at both ends of the price's confidence.

        Entering: the low end's floors are not above x, so the pool counts V >= W, and the shares
        made, floor(amount (S + v) / (V + 1)), leave W + 1 a share as it was, or more: to nothing.
        Leaving: the high end's floors are less than two units a market below x, n markets, so
        V < W + 2 n; paid floor(shares (V + 1) / (S + v)), what is lost to rounding is less than
        2 n units (10^-6 USDC) of all that they share: W + 1 + 2 n a share does not fall.
        Dust that cuts leave is in no market's worth, and is worth less than a unit.
        """
        old, new = before.pool, self.book.pool
        worth, most = exact_value(before, self.seen), 1
        if new.shares < old.shares:
            most += 2 * len(self.book.markets)
        after = exact_value(self.book, self.seen)
        supplies = old.shares + VIRTUAL_SHARES, new.shares + VIRTUAL_SHARES
        if min(worth, after) >= 0:
            kept = (after + most * UNIT) * supplies[0] >= (worth + most * UNIT) * supplies[1]
            assert kept, f"shares lost: {worth} {after} {supplies} {old} {new}"
        supplies = old.insurance_shares + VIRTUAL_SHARES, new.insurance_shares + VIRTUAL_SHARES
        assert (new.insurance + 1) * supplies[0] >= (old.insurance + 1) * supplies[1]
        self.counted("shares")
        made = (new.shares - old.shares, new.insurance_shares - old.insurance_shares)
        for tranche, shares in zip(Tranche, made, strict=True):
            if shares > 0:
                left = leave(new, tranche, shares, exposure(self.book, self.seen, UnixMs(0)))
                most = old.pending - new.pending
                assert isinstance(left, PoolRefused) or left.paid <= most, "in and out gained"


def exact_value(book: Book, seen: Readings) -> int:
    """Give what the pool owns at the marks, debts in it, in 10^-30 of a unit: nothing rounded."""
    profit = 0
    for market in book.markets:
        now = market_now(book, seen, market)
        sides = [(side, now.book.side(side)) for side in (LONG, SHORT)]
        own = sum(side_numerator(s, held.size, held.basis_sum, now.net_price) for s, held in sides)
        if max(held.size for _, held in sides) >= DUST:
            profit += own
        else:
            assert abs(own) < UNIT, "dust is worth a unit"
    return (book.pool.assets + book.debts) * UNIT - profit


def wealth(book: Book, seen: Readings, identity: PositionId) -> int:
    """Give what a trader has in a position and in the cross account."""
    account, _, mode = split_position_id(identity)
    own = standing(book, seen, identity)
    mine = cross_margin(book, seen, account).equity
    return mine + (own.equity if mode == ISOLATED and own.position.size else 0)


def owned(book: Book, seen: Readings, identity: PositionId) -> int:
    """Give the same with every profit counted, live or not."""
    account, _, mode = split_position_id(identity)
    crossed = cross_standings(book, seen, account)
    mine = book.account(account).balance + sum(each.profit + each.cash for each in crossed)
    own = standing(book, seen, identity)
    return mine + (own.equity if mode == ISOLATED and own.position.size else 0)


def liquidatable_in(book: Book, seen: Readings, identity: PositionId) -> bool:
    """Tell whether a position was below maintenance in another book."""
    account, _, mode = split_position_id(identity)
    if mode == CROSS:
        return cross_margin(book, seen, account).is_liquidatable
    own = standing(book, seen, identity)
    return own.position.size > 0 and is_liquidatable(own.equity, own.maintenance)


def order_of(request: Request) -> Order:
    """Make a request's order, at any price of any time."""
    return Order(
        account=request.account,
        market=request.market,
        mode=request.mode,
        long=request.long,
        reduce_only=request.reduce_only,
        size=request.size,
        margin=request.margin,
        terms=request.terms,
        max_notional=request.max_notional,
        fee=request.fee,
        acceptable_price=request.acceptable_price,
        not_before_ms=UnixMs(0),
        not_after_ms=UnixMs(2**63),
        executor=Account(0xE0),
    )


NO_ORDER = order_of(replace(LOST, reduce_only=True, fee=0))
