"""Two short stories that random moves seldom tell: all money in one position, and a freeze.

Each is a move of the walk (tests/contracts/fuzz.py) made of its ordinary calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.book_margin import cross_margin, health, standing
from contracts.book_words import CROSS, ISOLATED, PositionId, position_id, split_position_id
from contracts.margin_account import locked_margin
from tests.contracts.margin_world import ANY_PRICE
from tests.contracts.world import RULES as FEED_RULES

if TYPE_CHECKING:
    from tests.contracts.fuzz import Walk

PAST_S = FEED_RULES.window_ms // 1_000 + 1


def all_in(walk: Walk) -> None:
    """Somebody takes out what is not margin, and then closes a part, or all."""
    held = [each for each in _held(walk, ISOLATED) if not _owner(walk, each).markets]
    if not held:
        return
    identity = walk.random.choice(held)
    account, balance = split_position_id(identity)[0], _owner(walk, identity).balance
    if balance > 0:
        walk.withdraw(account, balance - min(balance - 1, walk.pick(0, 0, 50_000)))
    position, before = walk.book.position(identity), walk.book.requests
    size = max(1, position.size * walk.pick(10, 50, 100) // 100)
    walk.request_close(identity, size, 0 if position.long else ANY_PRICE)
    walk.fill(before)


def freeze(walk: Walk) -> None:
    """Somebody wins, takes out what is free, and the market is frozen, or falls silent."""
    held = [each for each in _held(walk, CROSS) if split_position_id(each)[1] in walk.living()]
    if not held:
        return
    identity = walk.random.choice(held)
    account, market, _ = split_position_id(identity)
    side = walk.book.position(identity).side
    walk.wait(PAST_S)
    price = walk.world.prices[market] * (100 + side * walk.pick(10, 30, 60)) // 100
    walk.post(walk.living() | {market: price}, walk.living())
    sums = cross_margin(walk.book, walk.seen, account)
    free = sums.equity - sums.widening - locked_margin(sums.initial, sums.notional)
    taken = min(free, sums.balance) - walk.book.account(account).promised
    if taken > 0:
        walk.withdraw(account, taken)
    frozen = walk.chance(0.7)
    if frozen:
        walk.control("freeze_market", market)
    else:
        walk.wait(50)
        others = {each: price for each, price in walk.living().items() if each != market}
        walk.post(others, others)
    for _ in range(3):
        if not standing(walk.book, walk.seen, identity).position.size:
            break
        first = health(walk.book, walk.seen, identity).largest_market
        walk.liquidate(position_id(account, first, CROSS), walk.caller())
        walk.wait(walk.pick(3, 299, 300, 420))
        walk.post(walk.living(), walk.living())
    if frozen:
        walk.control("unfreeze_market", market)


def _held(walk: Walk, mode: int) -> list[PositionId]:
    return [each for each in walk.held() if split_position_id(each)[2] == mode]


def _owner(walk: Walk, identity: PositionId):  # type: ignore[no-untyped-def]
    return walk.book.account(split_position_id(identity)[0])
