"""The engine is the reference model, word for word, through random walks over all entry points."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from contracts.book_margin import cross_margin, health
from contracts.book_readings import encode_margin, encode_mark
from contracts.book_words import CROSS, ISOLATED, Ramp, account_number, split_position_id
from contracts.margin_losses import is_backstop
from contracts.refusals import Refusal
from tests.contracts.engines import KEEPER, MARKETS, MODES, TERMS, TRADERS, EngineWorld
from tests.contracts.margins import usd

E27 = 10**27
STEPS = 900


class Walk:
    """One seeded walk: each step is a call on both, or a change around them."""

    def __init__(self, seed: int, *, wild: bool) -> None:
        self.random = random.Random(seed)
        self.wild = wild
        self.world = EngineWorld()
        self.seen: Counter[str] = Counter()
        self.nonces = dict.fromkeys(TRADERS, 0)
        for account in TRADERS:
            self.world.deposit(account, usd(60_000))

    def run(self, steps: int) -> None:
        """Walk, comparing every few steps everything, and every view of who was touched."""
        moves: tuple[tuple[Callable[[], object], int], ...] = (
            (self.outside, 26),
            (self.trade, 30),
            (self.reduce, 8),
            (self.money, 10),
            (self.margin, 8),
            (self.hold, 3),
            (self.retune, 6),
            (self.liquidate, 8),
            (self.adjust, 3),
            (self.cut, 4),
            (self.catch_up, 4),
        )
        names, weights = zip(*moves, strict=True)
        for step in range(steps):
            move = self.random.choices(names, weights)[0]
            outcome = move()
            refusal = getattr(outcome, "refusal", None)
            self.seen[f"{move.__name__} {refusal.name if refusal else 'done'}"] += 1
            if step % 5 == 0:
                self.world.check()
                self.check_views()
        self.world.check()

    def account(self) -> str:
        return self.random.choice(TRADERS)

    def identity(self) -> int:
        market, mode = self.random.randrange(MARKETS), self.random.choice(MODES)
        return self.world.identity(self.account(), market, mode)

    def open_identity(self) -> int:
        book = self.world.book
        found = [each for each in sorted(self.world.identities) if book.position(each).size]
        return self.random.choice(found) if found else self.identity()

    def amount(self, most: int = usd(20_000)) -> int:
        return self.random.choice([self.random.randint(0, most), self.random.randint(0, 100)])

    def outside(self) -> None:
        chance, world = self.random, self.world
        world.wait(chance.choice([1, 3, 20, 600, 7_200]))
        for market in range(MARKETS):
            old = world.readings.markets[market].mark.price
            reach = 90_000 if self.wild else 12_000
            price = max(10**9, old * (1_000_000 + chance.randint(-reach, reach)) // 1_000_000)
            strange = chance.random() < (0.15 if self.wild else 0.02)
            effective = chance.choice([50_000, 50_000, 60_000])
            changes = (
                {"effective_maintenance_ppm": effective}
                if not strange
                else {
                    "fresh": chance.random() < 0.5,
                    "new_risk": chance.random() < 0.5,
                    "unconfirmed": chance.random() < 0.5,
                    "halted": chance.random() < 0.3,
                    "permissions": chance.choice([31, 30, 28, 6, 2, 31 - 8]),
                }
            )
            if chance.random() < 0.9:
                world.set_market(
                    market, price, confidence_ppm=chance.choice([0, 50, 900]), **changes
                )
        if chance.random() < 0.05:
            world.set_outside(paused=chance.random() < 0.3, epoch=3, stopped_s=world.evm.now_s)

    def trade(self) -> object:
        chance, world = self.random, self.world
        market, mode = chance.randrange(MARKETS), chance.choice(MODES)
        worth = chance.choice([150, 3_000, 20_000, 20_000, 90_000])
        price = world.readings.markets[market].mark.price
        size = chance.randint(usd(worth) // 2, usd(worth)) * 10**30 // price
        terms = replace(
            TERMS,
            leverage_e2=chance.choice([200, 300, 500, 500, 900, 1_000, 1_100]),
            managed=chance.random() < 0.5,
            maintenance_ppm=chance.choice([50_000] * 9 + [49_999]),
            ceiling_ppm=chance.choice([60_000, 90_000, 90_000, 130_000]),
        )
        changes = {"margin": self.amount()} if mode == ISOLATED and chance.random() < 0.2 else {}
        if chance.random() < 0.1:
            changes["acceptable_price"] = price
        long = chance.random() < 0.55
        return world.trade(self.account(), market, mode, size, long=long, terms=terms, **changes)

    def reduce(self) -> object:
        chance, world = self.random, self.world
        account, market, mode = split_position_id(self.open_identity())
        held = world.book.position(world.identity(self.named(account), market, mode))
        size = chance.choice([2**120 - 1, max(1, held.size), held.size // 3 + 1])
        long = not held.long if chance.random() < 0.95 else held.long
        who = self.named(account)
        return world.trade(who, market, mode, size, long=long, reduce_only=True, margin=0)

    def named(self, account: int) -> str:
        return next(each for each in TRADERS if account_number(each) == account)

    def money(self) -> object:
        if self.random.random() < 0.4:
            return self.world.deposit(self.account(), self.amount())
        return self.world.withdraw(self.account(), self.amount(usd(60_000)))

    def margin(self) -> object:
        account, market, _ = split_position_id(self.open_identity())
        who, amount = self.named(account), self.amount()
        if self.random.random() < 0.5:
            wallet = self.random.random() < 0.5
            return self.world.add_margin(who, market, amount, wallet=wallet)
        return self.world.remove_margin(who, market, amount)

    def hold(self) -> object:
        account, mode = self.account(), self.random.choice(MODES)
        margin = self.amount() if mode == ISOLATED else 0
        held = self.world.hold(account, mode, margin)
        return held if held.refusal else self.world.unhold(account, mode, margin)

    def retune(self) -> object:
        chance = self.random
        identity = self.open_identity()
        who = self.named(split_position_id(identity)[0])
        self.nonces[who] += chance.choice([0, 1, 1, 1])
        terms = replace(
            TERMS,
            leverage_e2=chance.choice([300, 500, 900]),
            managed=chance.random() < 0.5,
            ceiling_ppm=chance.choice([40_000, 90_000]),
        )
        return self.world.retune(identity, self.nonces[who], terms)

    def liquidate(self) -> object:
        identity, world = self.open_identity(), self.world
        found = health(world.book, world.readings, identity)
        size = found.standing.position.size
        whole = is_backstop(found.equity, found.maintenance) or self.random.random() < 0.3
        close = size if whole else size // self.random.randint(2, 9) + 1
        penalty = self.random.choice([0, 2_500, 15_000])
        return world.liquidate(identity, close, penalty, max(0, found.equity))

    def adjust(self) -> object:
        ramp = Ramp(
            from_ppm=50_000,
            target_ppm=self.random.randint(50_000, 90_000),
            begun_s=0,
            ramp_s=self.random.choice([300, 3_600]),
            ai_epoch=self.random.choice([3, 4]),
        )
        return self.world.adjust(self.open_identity(), ramp)

    def cut(self) -> object:
        market, long = self.random.randrange(MARKETS), self.random.random() < 0.5
        side = self.world.book.market(market).side(1 if long else -1)
        if side.size == 0 or not self.wins(market, long=long):
            return None
        keep = self.random.choice([E27 - 10**25, E27 // 2, E27 // 10, self.random.randint(1, E27)])
        return self.world.cut(market, long=long, keep_e27=max(keep, E27 // 10))

    def wins(self, market: int, *, long: bool) -> bool:
        """Only a side in profit is cut."""
        book, found = self.world.book, self.world.book.market(market)
        held = found.side(1 if long else -1)
        elapsed = self.world.readings.now_s - found.at_s
        price = self.world.readings.markets[market].mark.price
        net = price - (found.index + found.rate * elapsed)
        profit = held.size * net - held.basis_sum
        return (profit if long else -profit) > 0 and book.pool.assets > usd(100_000)

    def catch_up(self) -> object:
        return self.world.catch_up(self.open_identity())

    def check_views(self) -> None:
        """Compare health and the sums of a cross account with the model's."""
        world = self.world
        identity = self.open_identity()
        found = health(world.book, world.readings, identity)
        own, now = found.standing, found.standing.now
        assert world.engine.read("health", identity) == (
            found.equity,
            found.maintenance,
            found.own_maintenance,
            own.position.size,
            own.position.long,
            own.position.managed,
            own.ratio_ppm,
            own.position.ceiling_ppm,
            own.position.version,
            own.position.stamp_ms,
            now.price,
            now.average,
            encode_mark(world.readings.markets[now.market].mark),
            encode_margin(now.limits),
            world.engine.read("rules", now.market),
            now.book.skew,
            now.book.settled,
            found.largest_market,
            found.absent,
        )
        account = self.account()
        sums = cross_margin(world.book, world.readings, account_number(account))
        assert world.engine.read("account_margin", account) == (
            sums.balance,
            sums.equity,
            sums.opening_equity,
            sums.initial,
            sums.maintenance,
            sums.notional,
            sums.widening,
            sums.ready,
        )


@pytest.mark.parametrize("seed", range(4))
def test_walk__random_calls__leave_chain_and_book_alike(seed):
    walk = Walk(seed, wild=seed % 2 == 1)
    walk.run(STEPS)
    done = {name.split()[0] for name in walk.seen if name.endswith("done")}
    assert {"trade", "reduce", "money", "margin", "liquidate", "retune"} <= done


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 108))
def test_long_walk__random_calls__leave_chain_and_book_alike(seed):
    Walk(seed, wild=seed % 2 == 1).run(6_000)


@pytest.mark.parametrize("seed", [11, 12])
def test_walk__into_a_settlement__ends_with_nothing_open(seed):
    walk = Walk(seed, wild=True)
    walk.run(250)
    world = walk.world
    world.wait(86_401)
    for market in range(MARKETS):
        assert world.begin_settlement(market).refusal is None
    for identity in sorted(world.identities):
        expected = None if world.book.position(identity).size else Refusal.NO_POSITION
        assert world.settle(identity).refusal == expected
    world.check()
    for market in world.book.markets.values():
        assert max(market.long.size, market.short.size) <= len(world.identities)
    assert all(world.book.account(account_number(who)).balance >= 0 for who in (*TRADERS, KEEPER))
    assert world.book.debts == 0
    assert CROSS in MODES
