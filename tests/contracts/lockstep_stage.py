"""Directed histories on contracts and model: positions opened and prices brought where wanted."""

from __future__ import annotations

from dataclasses import replace

from contracts.book_desk import Wish
from contracts.book_words import (
    CROSS,
    ISOLATED,
    Account,
    MarketRules,
    PositionId,
    account_number,
    position_id,
    split_position_id,
)
from contracts.margin import LONG
from contracts.messages import (
    ActionKind,
    Adjustment,
    MarginMode,
    PositionAction,
    PositionTerms,
    Side,
)
from contracts.refusals import Refusal
from contracts.units import MarketId, UnixMs
from tests.contracts.lockstep_calls import Calls
from tests.contracts.margin_world import ANY_PRICE, KEEPER, TRADERS
from tests.contracts.world import EVIDENCE_HASH, MODEL_HASH

USDC = 10**6
E36 = 10**36
ALICE, BOB, CAROL, DAVE = (account_number(each) for each in TRADERS)
CALLER = account_number(KEEPER)


class Stage(Calls):
    """A funded system; every step below must succeed on both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.nonce = 0
        self.refresh()

    def refresh(self) -> None:
        assert self.update() is None
        assert self.post() is None

    def later(self, seconds: int = 3) -> None:
        """Let time pass, and post the same prices."""
        self.wait(seconds)
        self.post()

    def move(self, market: int, price: int) -> None:
        """Bring a price anywhere."""
        self.wait(121)
        self.post({market: price})

    def rest(self) -> None:
        """Let averages follow, without a gap that would give anybody grace."""
        for _ in range(5):
            self.later(61)

    def terms(self, account: Account, market: int, side: int, **changes: object) -> PositionTerms:
        self.nonce += 1
        plain = PositionTerms(
            observed_at_ms=UnixMs(self.now_s * 1_000),
            valid_until_ms=UnixMs(self.now_s * 1_000 + 60_000),
            account=self.address(account),
            market=MarketId(market),
            side=Side(side),
            margin_mode=MarginMode.ISOLATED,
            adjustment=Adjustment.FIXED,
            max_notional_e6=10**7 * USDC,
            max_leverage_e2=1_000,
            maintenance_ppm=50_000,
            maintenance_ceiling_ppm=80_000,
            risk_score_ppm=250_000,
            nonce=self.nonce,
            model_hash=MODEL_HASH,
            evidence_hash=EVIDENCE_HASH,
        )
        return replace(plain, **changes)

    def ask(
        self,
        terms: PositionTerms,
        notional: int,
        leverage_e2: int = 500,
        margin: int | None = None,
    ) -> Refusal | None:
        """Ask to open, worth so many USDC, with 3 % more margin than needed."""
        account = account_number(terms.account)
        asked = notional * USDC * 103 // leverage_e2 if margin is None else margin
        self.deposit(account, asked + USDC)
        wish = Wish(
            size=notional * E36 // self.world.prices[terms.market],
            leverage_e2=leverage_e2,
            acceptable_price=ANY_PRICE if terms.side is Side.LONG else 0,
            margin=asked if terms.margin_mode is MarginMode.ISOLATED else 0,
        )
        return self.request_open(account, terms, wish)

    def fill(self, executor: Account = CALLER) -> Refusal | None:
        """Wait for a price, and execute the latest request."""
        self.later()
        request = max(self.book.requests, key=lambda each: each.requested_at_ms)
        return self.execute(request, executor)

    def opened(self, terms: PositionTerms, notional: int, **asked: int) -> PositionId:
        """Open, all the way."""
        assert self.ask(terms, notional, **asked) is None
        assert self.fill() is None
        mode = CROSS if terms.margin_mode is MarginMode.CROSS else ISOLATED
        return position_id(account_number(terms.account), terms.market, mode)

    def closed(self, identity: PositionId, size: int = ANY_PRICE) -> Refusal | None:
        """Ask to close, and execute; give how that ended."""
        self.deposit(split_position_id(identity)[0], USDC)
        worst = 0 if self.book.position(identity).side == LONG else ANY_PRICE
        assert self.request_close(identity, size, worst) is None
        return self.fill()

    def action(self, identity: PositionId, kind: ActionKind, **changes: object) -> PositionAction:
        plain = PositionAction(
            observed_at_ms=UnixMs(self.now_s * 1_000),
            valid_until_ms=UnixMs(self.now_s * 1_000 + 60_000),
            position_id=identity,
            position_version=self.book.position(identity).version,
            kind=kind,
            maintenance_ppm=80_000,
            max_size_e18=2**120 - 1,
            price_bound_e18=0,
            model_hash=MODEL_HASH,
            evidence_hash=EVIDENCE_HASH,
        )
        return replace(plain, **changes)

    def confirmed(self, identity: PositionId) -> Refusal | None:
        """Liquidate, and once more where a second round had to agree."""
        size = self.book.position(identity).size
        refusal = self.liquidate(identity, CALLER)
        if refusal is None and self.book.position(identity).size == size:
            self.later()
            refusal = self.liquidate(identity, CALLER)
        return refusal

    def liquidate_largest(self, account: Account, _: MarketId) -> bool:
        """Liquidate of a cross account what has to go first, until something goes."""
        for market in self.book.account(account).markets:
            identity = position_id(account, market, CROSS)
            if self.confirmed(identity) is None:
                return True
        return False

    def new_rules(self, market: int, **changes: int) -> MarketRules:
        """Change some of a market's rules."""
        rules = replace(self.book.markets[MarketId(market)].rules, **changes)
        assert self.set_rules(MarketId(market), rules) is None
        return rules
