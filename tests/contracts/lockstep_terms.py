"""Terms and actions as a quorum signs them, drawn at random around what would be accepted."""

from __future__ import annotations

from random import Random
from typing import Protocol

from contracts.book import Book
from contracts.book_readings import Limits
from contracts.book_words import Account, PositionId, split_position_id
from contracts.messages import (
    ActionKind,
    Adjustment,
    MarginMode,
    PositionAction,
    PositionTerms,
    Side,
)
from contracts.units import MarketId, UnixMs
from tests.contracts.world import EVIDENCE_HASH, MODEL_HASH

USDC = 10**6
FULL = 100_000_000  # 1x times 100 %
KINDS = {
    "adjust": ActionKind.ADJUST,
    "deleverage": ActionKind.DELEVERAGE,
    "liquidate_signed": ActionKind.LIQUIDATE,
}


class Drawing(Protocol):
    """What terms are drawn from."""

    random: Random
    nonce: int
    book: Book

    def chance(self, share: float) -> bool: ...
    def pick(self, *values: int) -> int: ...
    def address(self, account: Account) -> str: ...
    def price(self, market: MarketId) -> int: ...
    def now_ms(self) -> UnixMs: ...


def terms_of(walk: Drawing, account: Account, market: MarketId, limits: Limits) -> PositionTerms:
    """Draw terms: mostly such that an opening may succeed."""
    random = walk.random
    walk.nonce += 1
    target = max(1, limits.target_maintenance_ppm, limits.floor_maintenance_ppm)
    maintenance = min(500_000, target * walk.pick(100, 100, 110, 150) // 100)
    if walk.chance(0.03):
        maintenance = max(1, maintenance // 2)
    highest = max(100, FULL // (2 * maintenance))
    ceiling = min(maintenance * walk.pick(100, 120, 160, 200) // 100, 10**6)
    return PositionTerms(
        observed_at_ms=walk.now_ms(),
        valid_until_ms=UnixMs(walk.now_ms() + 60_000),
        account=walk.address(account),
        market=market,
        side=random.choice(list(Side)),
        margin_mode=random.choice(list(MarginMode)),
        adjustment=random.choice((Adjustment.FIXED, Adjustment.MANAGED, Adjustment.MANAGED)),
        max_notional_e6=walk.pick(25_000, 10**6, 10**6, 10**6, 10**7) * USDC,
        max_leverage_e2=min(65_535, highest if walk.chance(0.97) else highest * 2),
        maintenance_ppm=maintenance,
        maintenance_ceiling_ppm=ceiling,
        risk_score_ppm=250_000,
        nonce=walk.nonce if walk.chance(0.98) else max(0, walk.nonce - walk.pick(1, 5, 9_999_999)),
        model_hash=MODEL_HASH,
        evidence_hash=EVIDENCE_HASH,
    )


def action_of(walk: Drawing, function: str, identity: PositionId) -> PositionAction:
    """Draw an action on a position as it stands."""
    position = walk.book.position(identity)
    price = walk.price(split_position_id(identity)[1])
    version = position.version if walk.chance(0.97) else position.version + 1
    ceiling = position.ceiling_ppm or 80_000
    size = position.size * walk.pick(10, 30, 100, 100, 10_000) // 100
    bound = 0 if walk.chance(0.9) else price * walk.pick(90, 100, 110) // 100
    return PositionAction(
        observed_at_ms=walk.now_ms(),
        valid_until_ms=UnixMs(walk.now_ms() + 60_000),
        position_id=identity,
        position_version=version,
        kind=KINDS[function],
        maintenance_ppm=max(1, min(10**6, ceiling * walk.pick(50, 100, 100, 150) // 100)),
        max_size_e18=min(2**128 - 1, size) if walk.chance(0.97) else 0,
        price_bound_e18=min(2**128 - 1, bound),
        model_hash=MODEL_HASH,
        evidence_hash=EVIDENCE_HASH,
    )
