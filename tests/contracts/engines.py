"""The engine beside its reference model: every call goes to both, and they must stay one book."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from contracts import book_closing, book_money, book_trades
from contracts.book import Book, Order, Refused, Terms
from contracts.book_closing import Close
from contracts.book_money import Holding
from contracts.book_readings import Limits, Mark, Reading, Readings, encode_margin, encode_mark
from contracts.book_words import (
    CROSS,
    ISOLATED,
    MarketRules,
    Ramp,
    account_number,
    encode_account,
    encode_flow,
    encode_position,
    encode_rules,
    encode_sizes,
    position_id,
    split_position_id,
)
from contracts.fields import checksummed, keccak256
from contracts.refusals import Refusal
from contracts.units import UsdcE6, maintenance_from_cap
from tests.contracts.chain import START_S, Contract, Evm, Receipt, RefusedError, new_evm
from tests.contracts.doubles import double
from tests.contracts.margins import e18, usd
from tests.contracts.world import GUARDIAN, OWNER, TIMELOCK_S

DESK, LIQUIDATOR, KEEPER = (
    checksummed("0x" + keccak256(role.encode())[12:].hex())
    for role in ("a desk", "a liquidator", "a keeper")
)
TRADERS = tuple(
    checksummed("0x" + keccak256(f"account {index}".encode())[12:].hex()) for index in range(3)
)
TRADER = TRADERS[0]
MARKETS = 3
MODES = (ISOLATED, CROSS)
RULES = MarketRules(
    fee_ppm=500,
    impact_ppm=2_000,
    funding_daily_ppm=10_000,
    interest_share_ppm=500_000,
    skew_share_ppm=400_000,
    penalty_min_ppm=2_500,
    penalty_max_ppm=15_000,
    cut_share_ppm=600_000,
    min_notional_usdc=100,
    reward=UsdcE6(200_000),
    execution_fee=UsdcE6(100_000),
    liquidation_age_s=60,
    band_ppm=50_000,
)
LIMITS = Limits(
    permissions=31,
    halted=False,
    effective_maintenance_ppm=maintenance_from_cap(1_000),
    cap_e2=1_000,
    floor_maintenance_ppm=20_000,
    profit_share_ppm=500_000,
    spread_ppm=1_000,
    open_interest_cap_usdc=5_000_000,
    size_scale_usdc=1_000_000,
)
TERMS = Terms(leverage_e2=500, managed=False, maintenance_ppm=50_000, ceiling_ppm=80_000)
MANAGED = replace(TERMS, managed=True)
ANY_PRICE = 2**255
PRICE = e18(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call did on chain: its receipt, or why it was refused; the model agreed."""

    receipt: Receipt | None
    refusal: Refusal | None


class EngineWorld:
    """An engine whose surroundings are what the test says, and the book that it must equal."""

    def __init__(self, evm: Evm | None = None, markets: int = MARKETS) -> None:
        self.evm = evm or new_evm()
        self.outside = double(self.evm, "EngineSurroundings", OWNER)
        place = self.outside.address
        arguments = [place, place, place, place, DESK, LIQUIDATOR, OWNER, GUARDIAN, TIMELOCK_S]
        self.engine = Contract(self.evm, "MarginEngine", OWNER, arguments)
        self.outside.learn(self.engine.abi)
        self.readings = Readings(now_s=START_S, markets={})
        self.book = Book()
        self.identities: set[int] = set()
        self.receipts: list[Receipt] = []
        for market in range(markets):
            self.set_market(market)
            self.set_rules(market, RULES)
        self.fund(usd(2_000_000), usd(50_000))

    # the surroundings

    def set_market(self, market: int, price: int = PRICE, **changes: Any) -> None:
        """Give a market a price of now, and whatever else is changed of mark and limits."""
        mark = Mark(
            price=price,
            average=price,
            confidence_ppm=0,
            observed_at_ms=self.evm.now_s * 1_000,
            unconfirmed=False,
            fresh=True,
            new_risk=True,
        )
        limits = {name: changes.pop(name) for name in tuple(changes) if name in Limits.__slots__}
        mark = replace(mark, **changes)
        reading = Reading(mark=mark, limits=replace(LIMITS, **limits))
        self.set_reading(market, reading)

    def set_reading(self, market: int, reading: Reading) -> None:
        """Give a market a reading."""
        mark = reading.mark
        words = [mark.price, mark.average, encode_mark(mark)]
        self.outside.send(OWNER, "set_market", market, words, encode_margin(reading.limits))
        markets = {**self.readings.markets, market: reading}
        self.readings = replace(self.readings, markets=markets)

    def set_outside(self, *, paused: bool = False, epoch: int = 0, stopped_s: int = 0) -> None:
        """Pause withdrawals, or end an AI-input epoch."""
        self.outside.send(OWNER, "set_outside", paused, epoch, stopped_s)
        ended = {**self.readings.epoch_ended_s, epoch: stopped_s}
        self.readings = replace(self.readings, withdrawals_open=not paused, epoch_ended_s=ended)

    def fund(self, assets: int, insurance: int) -> None:
        """Give the pool its money."""
        self.outside.send(OWNER, "set_pool", assets, insurance)
        pool = replace(self.book.pool, assets=assets, insurance=insurance)
        self.book = replace(self.book, pool=pool)

    def wait(self, seconds: int) -> None:
        """Let time pass; prices stay as they were observed."""
        self.evm.set_time(self.evm.now_s + seconds)
        self.readings = replace(self.readings, now_s=self.evm.now_s)

    def move(self, market: int, price: int, **changes: Any) -> None:
        """Let a few seconds pass and give a market another price."""
        self.wait(3)
        self.set_market(market, price, **changes)

    # calls, each on both

    def both(self, model: Callable[[], Book], sender: str, name: str, *values: Any) -> Outcome:
        """Make a call on both; they must answer alike, and be one book afterwards."""
        receipt = refusal = None
        try:
            receipt = self.engine.send(sender, name, *values)
            self.receipts.append(receipt)
        except RefusedError as error:
            refusal = error.refusal
        try:
            after, expected = model(), None
        except Refused as error:
            after, expected = self.book, error.refusal
        assert refusal == expected, f"{name}: {refusal!r} on chain, {expected!r} in the book"
        self.book = after
        return Outcome(receipt=receipt, refusal=refusal)

    def deposit(self, account: str, amount: int) -> Outcome:
        who = account_number(account)
        return self.both(
            lambda: book_money.deposit(self.book, who, amount), account, "deposit", amount
        )

    def withdraw(self, account: str, amount: int) -> Outcome:
        who = account_number(account)
        return self.both(
            lambda: book_money.withdraw(self.book, self.readings, who, amount),
            account,
            "withdraw",
            amount,
        )

    def add_margin(self, account: str, market: int, amount: int, *, wallet: bool) -> Outcome:
        identity = self.identity(account, market, ISOLATED)
        return self.both(
            lambda: book_money.add_margin(
                self.book, self.readings, identity, amount, from_wallet=wallet
            ),
            account,
            "add_margin",
            market,
            amount,
            wallet,
        )

    def remove_margin(self, account: str, market: int, amount: int) -> Outcome:
        who = account_number(account)
        return self.both(
            lambda: book_money.remove_margin(self.book, self.readings, who, market, amount),
            account,
            "remove_margin",
            market,
            amount,
        )

    def hold(
        self, account: str, mode: int, margin: int = 0, nonce: int = 0, market: int = 0
    ) -> Outcome:
        fee = RULES.execution_fee
        holding = Holding(
            account=account_number(account),
            market=market,
            mode=mode,
            fee=fee,
            margin=margin,
            nonce=nonce,
        )
        return self.both(
            lambda: book_money.hold(self.book, self.readings, holding),
            DESK,
            "hold",
            account,
            nonce,
            market,
            mode,
            fee,
            margin,
        )

    def unhold(self, account: str, mode: int, margin: int = 0) -> Outcome:
        fee = RULES.execution_fee
        holding = Holding(
            account=account_number(account), market=0, mode=mode, fee=fee, margin=margin
        )
        return self.both(
            lambda: book_money.unhold(self.book, self.readings, holding),
            DESK,
            "unhold",
            account,
            mode,
            fee,
            margin,
        )

    def order(self, account: str, market: int, mode: int, size: int, **changes: Any) -> Order:
        """Make a long order at any price of now, of the usual terms."""
        long = changes.get("long", True)
        plain = {
            "account": account_number(account),
            "market": market,
            "mode": mode,
            "long": long,
            "reduce_only": False,
            "size": size,
            "margin": 0,
            "terms": TERMS,
            "max_notional": usd(1_000_000),
            "fee": RULES.execution_fee,
            "acceptable_price": ANY_PRICE if long else 0,
            "not_before_ms": 0,
            "not_after_ms": 2**60,
            "executor": account_number(KEEPER),
        }
        return Order(**{**plain, **changes})

    def execute(self, order: Order) -> Outcome:
        terms = order.terms
        self.identities.add(order.position_id)
        words = (
            address(order.account),
            order.market,
            order.mode,
            order.long,
            order.reduce_only,
            terms.managed,
            order.size,
            order.margin,
            terms.leverage_e2,
            terms.maintenance_ppm,
            terms.ceiling_ppm,
            order.max_notional,
            order.fee,
            order.acceptable_price,
            order.not_before_ms,
            order.not_after_ms,
            address(order.executor),
        )
        return self.both(
            lambda: book_trades.execute(self.book, self.readings, order)[0], DESK, "execute", words
        )

    def trade(self, account: str, market: int, mode: int, size: int, **changes: Any) -> Outcome:
        """Hold and execute; the margin of an isolated one is a quarter of its worth unless said."""
        price = self.readings.markets[market].mark.price
        margin = size * price // 4 // 10**30 if mode == ISOLATED else 0
        margin = changes.pop("margin", margin)
        held = self.hold(account, mode, margin)
        if held.refusal is not None:
            return held
        done = self.execute(self.order(account, market, mode, size, margin=margin, **changes))
        if done.refusal is not None:
            self.unhold(account, mode, margin)
        return done

    def retune(self, identity: int, nonce: int, terms: Terms) -> Outcome:
        account, market, mode = split_position_id(identity)
        return self.both(
            lambda: book_trades.retune(self.book, self.readings, identity, nonce, terms),
            DESK,
            "retune",
            address(account),
            market,
            mode,
            nonce,
            terms.leverage_e2,
            terms.managed,
            terms.maintenance_ppm,
            terms.ceiling_ppm,
        )

    def liquidate(self, identity: int, size: int, penalty_ppm: int, available: int) -> Outcome:
        close = Close(
            size=size,
            penalty_ppm=penalty_ppm,
            available=available,
            reward=RULES.reward,
            recipient=account_number(KEEPER),
        )
        return self.both(
            lambda: book_closing.liquidate(self.book, self.readings, identity, close)[0],
            LIQUIDATOR,
            "liquidate",
            identity,
            size,
            penalty_ppm,
            available,
            close.reward,
            KEEPER,
        )

    def adjust(self, identity: int, ramp: Ramp) -> Outcome:
        return self.both(
            lambda: book_closing.adjust(self.book, self.readings, identity, ramp),
            LIQUIDATOR,
            "adjust",
            identity,
            ramp.from_ppm,
            ramp.target_ppm,
            ramp.ramp_s,
            ramp.ai_epoch,
        )

    def cut(self, market: int, *, long: bool, keep_e27: int) -> Outcome:
        return self.both(
            lambda: book_closing.cut(self.book, self.readings, market, 1 if long else -1, keep_e27)[
                0
            ],
            LIQUIDATOR,
            "cut",
            market,
            long,
            keep_e27,
        )

    def settle(self, identity: int) -> Outcome:
        account, market, mode = split_position_id(identity)
        return self.both(
            lambda: book_closing.settle(self.book, self.readings, identity),
            KEEPER,
            "settle",
            address(account),
            market,
            mode,
        )

    def catch_up(self, identity: int) -> Outcome:
        return self.both(
            lambda: book_closing.catch_up(self.book, identity), KEEPER, "catch_up", identity
        )

    def set_rules(self, market: int, rules: MarketRules) -> Outcome:
        return self.both(
            lambda: book_closing.set_rules(self.book, self.readings, market, rules),
            OWNER,
            "set_rules",
            market,
            encode_rules(rules),
        )

    def begin_settlement(self, market: int) -> Outcome:
        return self.both(
            lambda: book_closing.begin_settlement(self.book, self.readings, market),
            OWNER,
            "begin_settlement",
            market,
        )

    # comparisons

    def identity(self, account: str, market: int, mode: int) -> int:
        """Name a position, and remember it."""
        found = position_id(account_number(account), market, mode)
        self.identities.add(found)
        return found

    def check(self) -> None:
        """Assert that the chain holds the book, word for word."""
        book = self.book
        for identity in self.identities:
            words = self.engine.read("position", identity)
            assert words == encode_position(book.position(identity))
        for account in (*TRADERS, KEEPER):
            held = book.account(account_number(account))
            assert self.engine.read("account", account) == (encode_account(held), held.balance)
        for market, found in book.markets.items():
            assert self.engine.read("market", market) == (
                encode_sizes(found.long.size, found.short.size),
                found.long.basis_sum,
                found.short.basis_sum,
                encode_flow(found.flow),
                encode_rules(found.rules),
                found.settlement_price,
                found.pot,
            )
            for long, side in ((True, found.long), (False, found.short)):
                last = side.cuts[-1]
                stored = self.engine.read("cut_at", market, long, side.number)
                assert stored == (last.keep_e27, last.cash)
        assert self.engine.read("debts") == book.debts
        money = (book.pool.assets, book.pool.insurance, book.credited)
        assert self.outside.read("money") == money

    def held_words(self) -> list[Any]:
        """Read everything that a refused call must leave alone."""
        reads: list[Any] = [self.outside.read("money"), self.engine.read("debts")]
        known = [
            position_id(account_number(account), market, mode)
            for account in TRADERS
            for market in self.book.markets
            for mode in MODES
        ]
        reads += [self.engine.read("position", identity) for identity in known]
        reads += [self.engine.read("account", account) for account in (*TRADERS, KEEPER)]
        return reads + [self.engine.read("market", market) for market in self.book.markets]


def address(account: int) -> str:
    """Give an account as the ABI takes it."""
    return checksummed(f"0x{account:040x}")
