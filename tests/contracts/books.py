"""A random walk over the book model: prices, decisions and all entry points, and what must hold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from contracts import book_closing, book_desk, book_liquidator, book_money
from contracts.book import Book, MarketBook, Refused, Request
from contracts.book_action import after_cuts
from contracts.book_margin import cross_margin, market_now, standing
from contracts.book_readings import ALL_PERMISSIONS, Limits, Mark, Reading, Readings
from contracts.book_words import (
    CROSS,
    ISOLATED,
    MarketRules,
    Position,
    position_id,
    split_position_id,
)
from contracts.margin import LONG, SHORT, is_liquidatable
from contracts.margin_sides import side_profit
from contracts.messages import (
    ActionKind,
    Adjustment,
    MarginMode,
    PositionAction,
    PositionTerms,
    Side,
)
from contracts.pool import PoolState
from contracts.units import maintenance_from_cap
from tests.contracts.margins import e18, usd

ACCOUNTS = (0xA1, 0xA2, 0xA3)
KEEPER = 0xC0
MARKETS = (0, 1, 2)
START_S = 1_790_000_000
RULES = MarketRules(
    fee_ppm=500,
    impact_ppm=1_000,
    funding_daily_ppm=3_000,
    interest_share_ppm=500_000,
    skew_share_ppm=300_000,
    penalty_min_ppm=2_000,
    penalty_max_ppm=5_000,
    cut_share_ppm=5_000,
    min_notional_usdc=10,
    reward=20_000,
    execution_fee=50_000,
    liquidation_age_s=60,
    band_ppm=20_000,
)
LIMITS = Limits(
    permissions=int(ALL_PERMISSIONS),
    halted=False,
    effective_maintenance_ppm=maintenance_from_cap(2_500),
    cap_e2=2_500,
    floor_maintenance_ppm=10_000,
    profit_share_ppm=500_000,
    spread_ppm=200,
    open_interest_cap_usdc=5_000_000,
    size_scale_usdc=1_000_000,
)
ZERO = b"\0" * 32


def mark(price: int, now_s: int, **changes) -> Mark:
    """A price that may carry new risk, observed now."""
    plain = Mark(
        price=price,
        average=price,
        confidence_ppm=100,
        observed_at_ms=now_s * 1_000,
        unconfirmed=False,
        fresh=True,
        new_risk=True,
    )
    return replace(plain, **changes)


def readings(price: int = e18(100), now_s: int = START_S, **changes) -> Readings:
    """Every market at one price, everything allowed."""
    limits = replace(LIMITS, **changes)
    every = {
        market: Reading(mark=mark(price, now_s), limits=limits, notice_s=300) for market in MARKETS
    }
    return Readings(now_s=now_s, markets=every)


def opened_book(assets: int = usd(1_500_000), rules: MarketRules = RULES) -> Book:
    """A book with markets and a pool, and nobody in it."""
    markets = {market: MarketBook(rules=rules, at_s=START_S) for market in MARKETS}
    return Book(markets=markets, pool=PoolState(assets=assets, insurance=usd(100_000)))


def terms(account: int, market: int, nonce: int, **changes) -> PositionTerms:
    """Terms that fit the limits above, to be changed."""
    plain = {
        "observed_at_ms": START_S * 1_000,
        "valid_until_ms": START_S * 1_000,
        "account": f"0x{account:040x}",
        "market": market,
        "side": Side.LONG,
        "margin_mode": MarginMode.ISOLATED,
        "adjustment": Adjustment.MANAGED,
        "max_notional_e6": usd(3_000_000),
        "max_leverage_e2": 2_500,
        "maintenance_ppm": 20_000,
        "maintenance_ceiling_ppm": 40_000,
        "risk_score_ppm": 0,
        "nonce": nonce,
        "model_hash": ZERO,
        "evidence_hash": ZERO,
    }
    return PositionTerms(**plain | changes)


def action_for(book: Book, identity: int, kind: ActionKind, at_ms: int, **changes):
    """An action for a position as it stands."""
    plain = {
        "observed_at_ms": at_ms,
        "valid_until_ms": at_ms,
        "position_id": identity,
        "position_version": book.position(identity).version,
        "kind": kind,
        "maintenance_ppm": 30_000,
        "max_size_e18": 2**127,
        "price_bound_e18": 0,
        "model_hash": ZERO,
        "evidence_hash": ZERO,
    }
    return PositionAction(**plain | changes)


def owed(book: Book) -> int:
    """What traders are owed, added up anew."""
    balances = sum(max(0, each.balance) for each in book.accounts.values())
    collateral = sum(each.collateral for each in book.positions.values())
    return balances + collateral + book.escrow + sum(each.pot for each in book.markets.values())


def pool_worth(book: Book, seen: Readings) -> int:
    """What pool and insurance own at these prices, traders' profit and debts counted in full."""
    profit = 0
    for market in book.markets:
        now = market_now(book, seen, market)
        for side in (LONG, SHORT):
            held = now.book.side(side)
            profit += side_profit(side, held.size, held.basis_sum, now.net_price)
    return book.pool.assets + book.pool.insurance + book.debts - profit


def open_positions(book: Book, market: int, side: int) -> list[Position]:
    """A side's positions, cuts applied."""
    held = book.markets[market].side(side)
    stored = [
        each
        for identity, each in book.positions.items()
        if split_position_id(identity)[1] == market and each.size and each.side == side
    ]
    return [after_cuts(each, held)[0] for each in stored]


def check_sums(book: Book) -> None:
    """The book's own sums are sums over what it holds; open interest is its positions'."""
    assert book.credited == owed(book)
    assert book.debts == sum(max(0, -each.balance) for each in book.accounts.values())
    waiting = [each for each in book.requests if each.mode == ISOLATED]
    assert book.escrow == sum(each.fee + each.margin for each in waiting)
    for account, held in book.accounts.items():
        promised = sum(r.fee for r in book.requests if r.account == account and r.mode == CROSS)
        assert held.promised == promised
        assert held.balance >= 0 or held.markets
        stored = [book.position(position_id(account, each, CROSS)) for each in held.markets]
        assert all(each.size for each in stored)
        assert len(set(held.markets)) == len(held.markets)
    for market, held in book.markets.items():
        for side in (LONG, SHORT):
            total = sum(each.size for each in open_positions(book, market, side))
            kept = held.side(side)
            most = (len(book.positions) + 1) * (kept.number + 1) ** 2 if kept.number else 0
            assert 0 <= kept.size - total <= most


@dataclass
class Walk:
    """One random history; `book` and `seen` are where it stands."""

    seed: int
    book: Book = field(default_factory=opened_book)
    tokens: int = 0
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.seen = readings()
        self.nonce = 0
        self.tokens = self.book.pool.assets + self.book.pool.insurance

    def step(self) -> str:
        """Do one thing; give its name, or the refusal's."""
        name, act = self.random.choice(ENTRIES)
        try:
            act(self)
        except Refused as refused:
            self.refused[refused.refusal.name] += 1
            return refused.refusal.name
        self.done[name] += 1
        return name

    def account(self) -> int:
        return self.random.choice(ACCOUNTS)

    def identity(self) -> int:
        """A position, an open one where there is any, mostly."""
        held = [each for each, position in self.book.positions.items() if position.size]
        if held and self.random.random() < 0.9:
            return self.random.choice(held)
        market, mode = self.random.choice(MARKETS), self.random.choice((ISOLATED, CROSS))
        return position_id(self.account(), market, mode)

    def amount(self) -> int:
        return self.random.choice([1, usd(1), usd(100), usd(5_000), usd(50_000)])

    def pass_time(self) -> None:
        """Time goes on and prices move, now and then far; a price may be late or unsure."""
        now_s = self.seen.now_s + self.random.choice([1, 1, 3, 3, 10, 10, 60, 600])
        every = {}
        for market, reading in self.seen.markets.items():
            moved = self.random.gauss(0, 0.007)
            if self.random.random() < 0.02:
                moved *= 25
            price = max(e18("0.5"), int(reading.mark.price * (1 + max(-0.5, moved))))
            late = self.random.random() < 0.03
            average = (price + 3 * reading.mark.average) // 4
            seen = mark(price, now_s, average=average, new_risk=not late, fresh=not late)
            if late:
                seen = replace(reading.mark, fresh=False, new_risk=False)
            every[market] = replace(reading, mark=seen)
        self.seen = replace(self.seen, now_s=now_s, markets=every)

    def deposit(self) -> None:
        amount = self.amount()
        self.book = book_money.deposit(self.book, self.account(), amount)
        self.tokens += amount

    def withdraw(self) -> None:
        amount = self.amount()
        self.book = book_money.withdraw(self.book, self.seen, self.account(), amount)
        self.tokens -= amount

    def add_margin(self) -> None:
        amount, wallet = self.amount(), self.random.random() < 0.5
        identity = self.identity()
        self.book = book_money.add_margin(
            self.book, self.seen, identity, amount, from_wallet=wallet
        )
        self.tokens += amount if wallet else 0

    def remove_margin(self) -> None:
        account, market, _ = split_position_id(self.identity())
        self.book = book_money.remove_margin(self.book, self.seen, account, market, self.amount())

    def request(self) -> None:
        self.nonce += 1
        mode = self.random.choice(list(MarginMode))
        account, market = self.account(), self.random.choice(MARKETS)
        asked = terms(
            account,
            market,
            self.nonce,
            side=self.random.choice(list(Side)),
            margin_mode=mode,
            adjustment=self.random.choice(list(Adjustment)),
        )
        notional = self.random.choice([15, 400, 20_000, 300_000])
        price = self.seen.markets[market].mark.price
        leverage = self.random.choice([200, 500, 1_000, 2_500])
        margin = usd(notional) * 102 // leverage + usd(1) if mode == ISOLATED else 0
        self.book, _ = book_desk.request_open(
            self.book,
            self.seen,
            account,
            asked,
            book_desk.Wish(
                size=notional * 10**36 // price,
                leverage_e2=leverage,
                acceptable_price=2**127 if asked.side is Side.LONG else 1,
                margin=margin,
            ),
        )

    def request_close(self) -> None:
        identity = self.identity()
        position = self.book.position(identity)
        size = max(1, position.size // self.random.choice([1, 1, 2, 5]))
        worst = 1 if position.long else 2**127
        self.book, _ = book_desk.request_close(self.book, self.seen, identity, size, worst)

    def waiting(self) -> Request:
        found = sorted(self.book.requests, key=lambda each: (each.requested_at_ms, each.fee))
        if not found:
            return LOST
        return found[-1] if self.random.random() < 0.8 else self.random.choice(found)

    def execute(self) -> None:
        request = self.waiting()
        if self.seen.now_s * 1_000 <= request.requested_at_ms + book_desk.FROM_MS:
            self.later(3)
        before = self.book
        self.book, _ = book_desk.execute_request(self.book, self.seen, request, KEEPER)
        identity = position_id(request.account, request.market, request.mode)
        assert not self.is_liquidatable(identity), (before, request)

    def later(self, seconds: int) -> None:
        now_s = self.seen.now_s + seconds
        every = {
            market: replace(reading, mark=replace(reading.mark, observed_at_ms=now_s * 1_000))
            if reading.mark.fresh
            else reading
            for market, reading in self.seen.markets.items()
        }
        self.seen = replace(self.seen, now_s=now_s, markets=every)

    def cancel(self) -> None:
        self.book = book_desk.cancel(self.book, self.seen, self.waiting())

    def retune(self) -> None:
        self.nonce += 1
        identity = self.identity()
        account, market, mode = split_position_id(identity)
        asked = terms(
            account,
            market,
            self.nonce,
            side=Side(self.book.position(identity).side),
            margin_mode=MarginMode(mode),
            adjustment=self.random.choice(list(Adjustment)),
        )
        self.book = book_desk.change_terms(
            self.book, self.seen, account, asked, self.random.choice([200, 1_000, 2_500])
        )
        assert not self.is_liquidatable(identity)

    def liquidate(self) -> None:
        identity = self.identity()
        self.book, _ = book_liquidator.liquidate_by_formula(self.book, self.seen, identity, KEEPER)

    def act(self) -> None:
        identity = self.identity()
        kind = self.random.choice(list(ActionKind))
        at_ms = self.seen.now_s * 1_000 - 2_000
        action = action_for(self.book, identity, kind, at_ms)
        healthy = not self.is_liquidatable(identity)
        if kind is ActionKind.ADJUST:
            self.book, _ = book_liquidator.adjust(self.book, self.seen, action)
            assert not (healthy and self.is_liquidatable(identity))
        elif kind is ActionKind.DELEVERAGE:
            self.book, _ = book_liquidator.deleverage(self.book, self.seen, action, KEEPER)
        else:
            self.book, _ = book_liquidator.liquidate_signed(self.book, self.seen, action, KEEPER)

    def cut(self) -> None:
        market, side = self.random.choice(MARKETS), self.random.choice((LONG, SHORT))
        self.book, _ = book_liquidator.deleverage_side(self.book, self.seen, market, side)

    def catch_up(self) -> None:
        self.book = book_closing.catch_up(self.book, self.identity())

    def is_liquidatable(self, identity: int) -> bool:
        account, _, mode = split_position_id(identity)
        if mode == CROSS:
            return cross_margin(self.book, self.seen, account).is_liquidatable
        own = standing(self.book, self.seen, identity)
        return own.position.size > 0 and is_liquidatable(own.equity, own.maintenance)


LOST = Request(
    account=ACCOUNTS[0],
    market=0,
    mode=ISOLATED,
    long=True,
    reduce_only=False,
    size=1,
    margin=0,
    terms=book_desk.NO_TERMS,
    max_notional=0,
    fee=0,
    acceptable_price=0,
    requested_at_ms=0,
)

ENTRIES: tuple[tuple[str, Callable[[Walk], None]], ...] = tuple(
    (name, getattr(Walk, name))
    for name, weight in {
        "pass_time": 5,
        "deposit": 3,
        "withdraw": 2,
        "add_margin": 1,
        "remove_margin": 2,
        "request": 8,
        "request_close": 4,
        "execute": 16,
        "cancel": 2,
        "retune": 2,
        "liquidate": 7,
        "act": 4,
        "cut": 2,
        "catch_up": 1,
    }.items()
    for _ in range(weight)
)


def at_price(seen: Readings, price: int, seconds: int = 3, **changes) -> Readings:
    """Later, every market at another price."""
    now_s = seen.now_s + seconds
    every = {
        market: replace(reading, mark=mark(price, now_s, **changes))
        for market, reading in seen.markets.items()
    }
    return replace(seen, now_s=now_s, markets=every)


def trade(book: Book, seen: Readings, side: int, notional: int, **changes):
    """Deposit plenty, ask to open, and execute it 3 s later: the book and the readings after it."""
    plain = {"account": ACCOUNTS[0], "market": 0, "mode": ISOLATED, "leverage_e2": 1_000}
    plain |= {"managed": True, "margin": usd(notional) // 10 + usd(notional) // 100 + usd(1)}
    asked = plain | changes
    account, market, mode = asked["account"], asked["market"], asked["mode"]
    price = seen.markets[market].mark.price
    signed = terms(
        account,
        market,
        book.account(account).nonce + 1,
        side=Side(side),
        margin_mode=MarginMode(mode),
        adjustment=Adjustment.MANAGED if asked["managed"] else Adjustment.FIXED,
    )
    wish = book_desk.Wish(
        size=notional * 10**36 // price,
        leverage_e2=asked["leverage_e2"],
        acceptable_price=2**127 if side == LONG else 1,
        margin=asked["margin"] if mode == ISOLATED else 0,
    )
    book = book_money.deposit(book, account, asked["margin"] + usd(1))
    book, request = book_desk.request_open(book, seen, account, signed, wish)
    seen = at_price(seen, price)
    return book_desk.execute_request(book, seen, request, KEEPER)[0], seen
