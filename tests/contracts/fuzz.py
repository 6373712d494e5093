"""A random history on contracts and model at once: everybody's calls, prices, decisions, pauses."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

from contracts.book import Request
from contracts.book_desk import Wish, request_id
from contracts.book_margin import cross_margin, standing
from contracts.book_words import (
    CROSS,
    ISOLATED,
    Account,
    PositionId,
    account_number,
    position_id,
    split_position_id,
)
from contracts.margin import LONG, SHORT, is_liquidatable
from contracts.messages import Adjustment, MarginMode, PositionAction, PositionTerms, Side
from contracts.pool import Tranche
from contracts.refusals import Refusal
from contracts.units import MarketId, UnixMs
from tests.contracts.fuzz_scenes import all_in, freeze
from tests.contracts.lockstep_calls import DAY_S, DEPOSIT, REDEEM, Calls
from tests.contracts.lockstep_terms import action_of, terms_of
from tests.contracts.margin_world import (
    ANY_PRICE,
    KEEPER,
    LP,
    MARKET_RULES,
    TRADERS,
    MarginWorld,
    on_grid,
)
from tests.contracts.world import RULES as FEED_RULES

USDC = 10**6
E36 = 10**36
ACCOUNTS = tuple(account_number(each) for each in TRADERS)
CALLERS = (*ACCOUNTS, account_number(KEEPER))
LPS = (LP, TRADERS[3])
PAST_S = FEED_RULES.window_ms // 1_000 + 1


class Walk(Calls):
    """One history; `step` does one thing, often of several calls."""

    def __init__(self, seed: int, world: MarginWorld | None = None) -> None:
        super().__init__(world)
        self.seed = seed
        self.random = random.Random(seed)
        self.nonce = 0
        self.updated_s = 0
        self.start = dict(self.world.prices)
        self.refresh()
        for account in ACCOUNTS:
            self.deposit(account, 20_000 * USDC)

    def step(self) -> str:
        if self.chance(RARE):
            self.end_market()
            return "end_market"
        if self.chance(2 * RARE):
            self.wild()
            return "wild"
        name, act = self.random.choice(MOVES)
        act(self)
        return name

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def pick(self, *values: int) -> int:
        return self.random.choice(values)

    # choices

    def account(self) -> Account:
        return self.random.choice(ACCOUNTS)

    def caller(self) -> Account:
        return self.random.choice(CALLERS)

    def market(self) -> MarketId:
        return self.random.choice(tuple(self.book.markets))

    def held(self) -> list[PositionId]:
        return [each for each, position in self.book.positions.items() if position.size]

    def identity(self) -> PositionId:
        """A position, mostly an open one."""
        held = self.held()
        if held and self.chance(0.95):
            return self.random.choice(held)
        return position_id(self.account(), self.market(), self.pick(ISOLATED, CROSS))

    def weak(self) -> PositionId:
        """A position that may be liquidated, where one is found soon."""
        held = self.held()
        self.random.shuffle(held)
        for identity in held[:8]:
            if self.is_liquidatable(identity):
                return identity
        return self.identity()

    def is_liquidatable(self, identity: PositionId) -> bool:
        account, _, mode = split_position_id(identity)
        if mode == CROSS:
            return cross_margin(self.book, self.seen, account).is_liquidatable
        own = standing(self.book, self.seen, identity)
        return own.position.size > 0 and is_liquidatable(own.equity, own.maintenance)

    def all_liquidatable(self) -> set[PositionId]:
        return {each for each in self.held() if self.is_liquidatable(each)}

    def price(self, market: MarketId) -> int:
        return self.seen.markets[market].mark.price

    def amount(self) -> int:
        if self.chance(0.02):
            return self.pick(2**96, 2**255, 2**256 - 1)
        return self.pick(1, USDC, 150 * USDC, 5_000 * USDC, 60_000 * USDC)

    # time and prices

    def refresh(self) -> None:
        """Renew everything."""
        self.renew()
        self.post(self.living(), self.living())

    def renew(self) -> None:
        """Renew parameters."""
        if self.update() is None:
            self.updated_s = self.now_s

    def living(self) -> dict[int, int]:
        """Give the prices of markets that still have one."""
        return {each: self.world.prices[each] for each in self.book.markets if not self.over(each)}

    def over(self, market: MarketId) -> bool:
        return self.book.markets[market].settled

    def moved(self, market: int, deviation: float) -> int:
        """Draw a price; it is pulled back to where it began."""
        price, home = self.world.prices[market], self.start[market]
        pull = 0.02 * math.log(home / price) * min(1, deviation * 100)
        return max(10**12, int(price * math.exp(self.random.gauss(pull, deviation))))

    def tick(self) -> None:
        """Seconds pass, and prices move as far as one round may."""
        self.pass_time(self.pick(1, 3, 3, 5, 10, 30, 60))

    def pass_time(self, seconds: int) -> None:
        self.wait(seconds)
        if self.now_s - self.updated_s > 3_000 and self.chance(0.9):
            self.renew()
        deviation = 0.0006 * math.sqrt(seconds) if self.chance(0.97) else 0.02
        prices = {each: self.moved(each, deviation) for each in self.living()}
        for market in list(prices):
            if self.chance(0.03):
                del prices[market]
        if prices and self.chance(0.97):
            self.world.confidence_ppm = self.pick(0, 40, 400, 1_600, 1_600, 2_400)
            self.post(prices, prices, age_ms=self.pick(0, 0, 0, 900, 2_500, -1_500))

    def jump(self) -> None:
        """One price jumps after a silence; a round more may confirm it."""
        market = self.random.choice([*self.living()] or [0])
        self.wait(self.pick(PAST_S, PAST_S, 200, 301, 400))
        far = self.moved(market, self.random.choice((0.02, 0.05, 0.1, 0.3)))
        self.post(self.living() | {market: far}, self.living())
        for _ in range(self.pick(0, 1, 1, 4)):
            self.pass_time(self.pick(3, 3, 30, 70))
        self.liquidations()

    def wild(self) -> None:
        """A price goes where no price goes, and mostly comes back."""
        market = self.random.choice([*self.living()])
        price = self.world.prices[market]
        far = int(price * 10 ** self.random.uniform(-4, 4))
        for each in (far, price if self.chance(0.8) else far):
            self.wait(PAST_S)
            self.post(self.living() | {market: min(2**93, max(2**33, each))}, self.living())
            self.liquidations()
            for side in (LONG, SHORT):
                self.deleverage_side(MarketId(market), side)
            self.pass_time(3)
            self.liquidations()
            self.deleverage_side(MarketId(market), LONG)
            self.open()
            self.close()

    def squeeze(self) -> None:
        """A price moves against somebody, about as far as the margin reaches."""
        held = [each for each in self.held() if not self.over(split_position_id(each)[1])]
        if not held:
            return
        identity = self.random.choice(held)
        market, position = split_position_id(identity)[1], self.book.position(identity)
        depth = self.random.choice((0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.3))
        far = -position.side * min(0.8, 100 / position.leverage_e2 * depth)
        price = max(10**12, int(self.world.prices[market] * (1 + far)))
        self.wait(PAST_S)
        self.post(self.living() | {market: price}, self.living())
        for _ in range(self.pick(0, 1, 4)):
            self.pass_time(self.pick(3, 60, 90))
        for _ in range(self.pick(1, 2, 3)):
            caller = self.caller()
            if self.chance(0.7):
                self.liquidate(identity, caller)
            else:
                function = self.random.choice(("liquidate_signed", "deleverage"))
                action = self.action(function, identity)
                self.pass_time(3)
                self.act(function, action, caller)
            self.pass_time(self.pick(3, 3, 30, 61))
        self.liquidations()
        if self.chance(0.5):
            self.deleverage_side(market, -position.side)

    def sleep(self) -> None:
        """Hours or days pass."""
        self.wait(self.pick(400, 3_700, 3_700, 7_300, DAY_S, 8 * DAY_S))
        self.refresh()
        if self.chance(0.7):
            self.wait(301)
            self.refresh()

    # money

    def move_deposit(self) -> None:
        self.deposit(self.account(), self.pick(0, self.amount(), 300_000 * USDC))

    def move_withdraw(self) -> None:
        account = self.account()
        balance = self.book.account(account).balance
        part = max(0, balance) * self.pick(1, 10, 50, 100) // 100
        self.withdraw(account, self.pick(part, part, self.amount(), max(0, balance) + 1))

    def move_add_margin(self) -> None:
        self.add_margin(self.identity(), self.amount(), from_wallet=self.chance(0.5))

    def move_remove_margin(self) -> None:
        identity = self.identity()
        account, market, _ = split_position_id(identity)
        part = self.book.position(identity).collateral * self.pick(1, 10, 50, 100) // 100
        self.remove_margin(account, market, self.pick(part, part, self.amount()))

    def leave(self) -> None:
        """Close everything at once, as far as it goes, and withdraw what is left."""
        account = self.account()
        mine = [each for each in self.held() if split_position_id(each)[0] == account]
        for identity in mine:
            position = self.book.position(identity)
            self.request_close(identity, ANY_PRICE, 0 if position.long else ANY_PRICE)
        self.pass_time(3)
        for request in self.fresh(account):
            self.execute(request, self.caller())
        held = self.book.account(account)
        waits = any(each.account == account for each in self.book.requests)
        if held.balance > 0 and not held.markets and not waits:
            refusal = self.withdraw(account, held.balance)
            assert refusal in {None, Refusal.WITHDRAWALS_PAUSED}, refusal

    # orders

    def terms(self, account: Account, market: MarketId) -> PositionTerms:
        limits = self.seen.markets[market].limits
        return terms_of(self, account, market, limits)

    def wish(self, terms: PositionTerms) -> Wish:
        notional = self.pick(60, 150, 1_000, 20_000, 20_000, 200_000, 700_000)
        price = max(1, self.price(MarketId(terms.market)))
        highest = terms.max_leverage_e2
        leverage = min(highest, self.pick(100, 200, 500, highest, highest, highest + 1))
        margin = notional * USDC * self.pick(98, 101, 102, 110) // leverage + self.pick(0, USDC)
        worst = ANY_PRICE if terms.side is Side.LONG else 0
        if self.chance(0.1):
            worst = price * self.pick(997, 1_000, 1_003) // 1_000
        return Wish(
            size=notional * E36 // price if self.chance(0.98) else self.pick(0, 2**120, 2**119),
            leverage_e2=leverage,
            acceptable_price=worst,
            margin=margin if terms.margin_mode is MarginMode.ISOLATED else self.chance(0.01),
        )

    def move_request(self) -> None:
        account = self.account()
        terms = self.terms(account, self.market())
        caller = account if self.chance(0.99) else self.account()
        self.request_open(caller, terms, self.wish(terms))

    def open(self) -> None:
        """Ask, wait for a price, execute: the usual way."""
        before, account = self.book.requests, self.account()
        terms = self.terms(account, self.market())
        wish = self.wish(terms)
        needed = wish.margin + wish.size * self.price(MarketId(terms.market)) // 10**31 + USDC
        if self.book.account(account).balance < needed < 10**13 and self.chance(0.9):
            self.deposit(account, needed)
        self.request_open(account, terms, wish)
        self.fill(before)

    def against(self) -> None:
        """Buy into the other side of what is held: reduce, or flip."""
        held = self.held()
        if not held:
            return
        account, market, mode = split_position_id(identity := self.random.choice(held))
        position = self.book.position(identity)
        side = Side.SHORT if position.long else Side.LONG
        changes = {"side": side, "margin_mode": MarginMode(mode)}
        terms = replace(self.terms(account, market), **changes)
        wish = self.wish(terms)
        if self.chance(0.7):
            size = max(1, position.size * self.pick(1, 50, 100, 150, 300) // 100)
            wish = replace(wish, size=min(size, 2**120 - 1))
        before = self.book.requests
        self.request_open(account, terms, wish)
        self.fill(before)

    def close(self) -> None:
        before = self.book.requests
        self.move_request_close()
        self.fill(before)

    def move_request_close(self) -> None:
        identity = self.identity()
        position = self.book.position(identity)
        size = position.size // self.pick(1, 1, 2, 5, 100) + self.pick(0, 0, 1)
        worst = 0 if position.long else ANY_PRICE
        self.request_close(identity, size, worst)

    def fill(self, before: frozenset[Request]) -> None:
        if self.chance(0.95):
            self.pass_time(self.pick(3, 3, 4, 10, 16))
        for request in sorted(self.book.requests - before, key=request_id):
            self.execute(request, self.caller())

    def fresh(self, account: Account) -> list[Request]:
        since_ms = self.now_ms() - 17_000
        mine = [each for each in self.book.requests if each.account == account]
        return sorted(
            (each for each in mine if each.requested_at_ms >= since_ms),
            key=lambda each: (each.market, each.mode, each.size),
        )

    def lapsed(self) -> None:
        """Cancel what nobody executed in time."""
        since_ms = self.now_ms() - 17_000
        late = [each for each in self.book.requests if each.requested_at_ms < since_ms]
        for request in sorted(late, key=request_id):
            self.cancel(request)

    def waiting(self) -> Request | None:
        found = sorted(self.book.requests, key=request_id)
        return self.random.choice(found) if found else None

    def move_execute(self) -> None:
        request = self.waiting()
        if request is not None:
            self.execute(request, self.caller())

    def move_cancel(self) -> None:
        request = self.waiting()
        if request is None:
            return
        if self.chance(0.1):
            request = replace(request, fee=request.fee + 1)
        if self.chance(0.8):
            self.pass_time(18)
        self.cancel(request)

    def move_change_terms(self) -> None:
        identity = self.identity()
        account, market, mode = split_position_id(identity)
        side = Side(self.book.position(identity).side if self.chance(0.95) else LONG)
        changes = {"side": side, "margin_mode": MarginMode(mode)}
        terms = replace(self.terms(account, market), **changes)
        self.change_terms(account, terms, self.pick(100, 200, 500, terms.max_leverage_e2))

    # liquidation

    def liquidations(self) -> None:
        """Liquidate several times, as keepers do."""
        for _ in range(self.pick(1, 2, 3)):
            identity = self.weak()
            if self.book.position(identity).size or self.chance(0.1):
                self.liquidate(identity, self.caller())
            if self.chance(0.2):
                self.pass_time(3)

    def action(self, function: str, identity: PositionId) -> PositionAction:
        return action_of(self, function, identity)

    def move_act(self) -> None:
        function = self.random.choice(("adjust", "adjust", "deleverage", "liquidate_signed"))
        identity = self.identity() if function == "adjust" else self.weak()
        action = self.action(function, identity)
        if function != "adjust" and self.chance(0.9):
            self.pass_time(3)
        if self.chance(0.03):
            function = "adjust"
        self.act(function, action, self.caller())

    def ripen(self) -> None:
        """Adjust managed positions, and wait while the ramp goes on."""
        managed = [each for each in self.held() if self.book.position(each).managed]
        for identity in managed[:3]:
            self.act("adjust", self.action("adjust", identity), self.caller())
        for _ in range(3):
            self.wait(1_250)
            self.refresh()
        for identity in managed[:6]:
            action = self.action("deleverage", identity)
            self.pass_time(3)
            self.act("deleverage", action, self.caller())

    def move_deleverage_side(self) -> None:
        market = self.market()
        for side in (LONG, SHORT):
            self.deleverage_side(market, side)

    def move_catch_up(self) -> None:
        stale = [
            each
            for each in self.held()
            if self.book.position(each).cuts
            != self.book.markets[split_position_id(each)[1]]
            .side(self.book.position(each).side)
            .number
        ]
        self.catch_up(self.random.choice(stale) if stale else self.identity())

    # the pool

    def move_lp_in(self) -> None:
        tranche = self.random.choice((Tranche.POOL, Tranche.POOL, Tranche.INSURANCE))
        amount = min(10**12, self.pick(0, 1, self.amount(), self.amount(), 300_000 * USDC))
        self.request_deposit(self.random.choice(LPS), tranche, amount)

    def move_lp_out(self) -> None:
        owner = self.random.choice(LPS)
        tranche = self.random.choice((Tranche.POOL, Tranche.POOL, Tranche.INSURANCE))
        shares = self.shares_of(owner, tranche) * self.pick(1, 5, 30) // 100
        self.request_redeem(owner, tranche, shares + self.pick(0, 0, 0, 10**30))

    def move_lp_execute(self) -> None:
        number = self.random.choice([*self.requests] or [99])
        if self.chance(0.8):
            self.wait(3_700)
            self.refresh()
        kind = self.requests.get(number, (DEPOSIT,))[0]
        execute = self.execute_redeem if kind == REDEEM else self.execute_deposit
        if self.chance(0.05):
            execute = self.execute_deposit
        execute(number)

    def move_lp_cancel(self) -> None:
        number = self.random.choice([*self.requests] or [99])
        found = self.requests.get(number, (DEPOSIT, LP))
        if self.chance(0.3):
            self.wait(9 * DAY_S)
            self.refresh()
        function = "cancel_redeem" if found[0] == REDEEM else "cancel_deposit"
        self.cancel_request(function, found[1] if self.chance(0.9) else LPS[0], number)

    def gift(self) -> None:
        name = self.random.choice(("vault", "pool"))
        at = self.world.vault if name == "vault" else self.world.pool
        if self.chance(0.7):
            self.donate(at.address, self.pick(1, USDC, 3_000 * USDC))
        self.sweep(name)

    # decisions and pauses

    def decide(self) -> None:
        """Change a market's parameters a little; the oracle may leave it aside."""
        market = self.market()
        fields = self.world.fields[market]
        cap = max(110, min(4_000, fields.cap_e2 * self.pick(72, 90, 100, 105, 109) // 100))
        changed = fields._replace(
            cap_e2=cap,
            maintenance_ppm=50_000_000 // cap,
            spread=max(1, fields.spread * self.pick(80, 100, 105) // 100),
            reduce_only=int(self.chance(0.05)),
            ramp_s=self.pick(0, 0, 3_600, 7_200),
        )
        before = self.all_liquidatable()
        self.update(changed)
        assert self.all_liquidatable() == before, "a decision made somebody liquidatable"

    def pause(self) -> None:
        """Somebody stops something for a while, and it goes on again."""
        choice = self.random.random()
        if choice < 0.3:
            scope = self.pick(1, 2, 3, 4, 5)
            self.control("pause", scope, self.pick(60, 700, 2_000))
            self.some_calls()
            if self.chance(0.8):
                self.control("resume", scope)
        elif choice < 0.6:
            market = self.market()
            self.control("pause_market", market, self.pick(60, 700))
            self.some_calls()
            self.control("resume_market", market)
        elif choice < 0.8:
            market = self.market()
            self.control("freeze_market", market)
            self.some_calls()
            self.control("unfreeze_market", market)
        else:
            market = self.market()
            self.control("tighten_market", market, 300, 0, 0, 600)
            self.some_calls()
            self.control("lift_tightening", market)

    def some_calls(self) -> None:
        for _ in range(self.pick(1, 3, 6)):
            name = self.random.choice(("open", "close", "tick", "move_withdraw", "liquidations"))
            getattr(self, name)()
            if self.chance(0.2):
                self.move_remove_margin()
                self.move_act()

    # the owner

    def rules(self) -> None:
        """Change a market's rules while positions are open."""
        market = self.market()
        old = self.book.markets[market].rules
        changed = replace(
            old,
            fee_ppm=self.pick(0, 300, 900),
            cut_share_ppm=self.pick(500, 2_000, 20_000, 600_000),
            band_ppm=self.pick(15_000, 50_000, 65_000),
            funding_daily_ppm=self.pick(0, 10_000, 200_000, 1_000_000),
            liquidation_age_s=self.pick(45, 60, 120),
            penalty_min_ppm=self.pick(2_500, 2_500, 5_000, 60_000),
            impact_ppm=self.pick(0, 500, 2_000, 50_000),
            min_notional_usdc=self.pick(100, 100, 400),
            reward=self.pick(0, 200_000, 250_000),
            execution_fee=self.pick(0, 10_000, 100_000, 9_000_000),
        )
        self.set_rules(market, changed)

    def end_market(self) -> None:
        """A market's price dies; the owner settles it, and everybody is paid out."""
        living = self.living()
        if len(living) <= 2 or self.chance(0.6):
            self.begin_settlement(self.market())
            return
        market = MarketId(self.random.choice([*living]))
        self.wait(DAY_S + 60)
        self.update()
        others = {each: price for each, price in living.items() if each != market}
        self.post(others, others)
        if self.begin_settlement(market) is None:
            self.begin_market()
        self.some_calls()

    def begin_market(self) -> None:
        """Another market opens in its place."""
        market = len(self.book.markets)
        price = on_grid(self.pick(10**16, 7 * 10**18, 31_000 * 10**18))
        scale_usdc = self.pick(4_096, 65_536, 1 << 20)
        self.start[market] = price
        self.open_market(MarketId(market), price, scale_usdc, MARKET_RULES)
        self.refresh()

    def move_settle(self) -> None:
        ended = [each for each in self.held() if self.over(split_position_id(each)[1])]
        self.settle(self.random.choice(ended) if ended else self.identity())

    def now_ms(self) -> UnixMs:
        return UnixMs(self.now_s * 1_000)

    def adjustment(self) -> Adjustment:
        return self.random.choice((Adjustment.FIXED, Adjustment.MANAGED, Adjustment.MANAGED))


WEIGHTS = {
    "tick": 14,
    "jump": 4,
    "squeeze": 9,
    "sleep": 1,
    "move_deposit": 4,
    "move_withdraw": 4,
    "move_add_margin": 4,
    "move_remove_margin": 4,
    "leave": 1,
    "move_request": 2,
    "open": 24,
    "against": 7,
    "close": 7,
    "move_request_close": 2,
    "move_execute": 3,
    "move_cancel": 4,
    "lapsed": 3,
    "move_change_terms": 5,
    "liquidations": 6,
    "move_act": 8,
    "ripen": 1,
    "move_deleverage_side": 5,
    "move_catch_up": 4,
    "move_lp_in": 1,
    "move_lp_out": 1,
    "move_lp_execute": 2,
    "move_lp_cancel": 1,
    "gift": 1,
    "decide": 3,
    "pause": 2,
    "rules": 1,
    "move_settle": 3,
}
RARE = 0.001
MOVES: tuple[tuple[str, Callable[[Walk], None]], ...] = (
    *[(name, getattr(Walk, name)) for name, weight in WEIGHTS.items() for _ in range(weight)],
    ("all_in", all_in),
    ("freeze", freeze),
    ("freeze", freeze),
)
