"""The board of warnings, as interfaces read it and as they follow it."""

from __future__ import annotations

import asyncio

from agent.positions.levels import Level
from agent.positions.warn import Assessed, Board, Stream, Warned
from agent.quoting.warnings import OVER, changes, standing

ACCOUNT = "0x" + "aB" * 20
SYMBOLS = {3: "ETH"}


class FakeWarner:
    """A board and a stream, without what fills them."""

    def __init__(self, *warned: Warned) -> None:
        self.board = Board(standing={each.found.key: each for each in warned})
        self.stream = Stream()

    def current(self) -> tuple[Warned, ...]:
        return tuple(self.board.standing.values())


def warned(key: str, account: str = ACCOUNT, **changes) -> Warned:
    found = Assessed(
        key=key,
        account=account,
        market=3,
        side=1,
        is_cross=False,
        level=Level.DANGER,
        distance=0.01,
        price=10**20,
        liquidation_price=99 * 10**18,
        next_price=995 * 10**17,
        chances=(0.1, 0.2, 0.3, 0.4),
    )
    return Warned(found=found, since_ms=5, margin_to_add=7, size_to_reduce=9)


def test_standing__one_account__is_asked_in_any_case() -> None:
    warner = FakeWarner(warned("0x1"), warned("0x2", "0x" + "cd" * 20))
    rows = standing(warner, ACCOUNT.lower(), 10, SYMBOLS).warnings
    assert [(row.key, row.market, row.level) for row in rows] == [("0x1", "ETH", "danger")]
    assert rows[0].cure.add_margin_e6 == "7"
    assert rows[0].next_price_e18 == str(995 * 10**17)
    assert len(standing(warner, None, 1, SYMBOLS).warnings) == 1
    assert standing(None, None, 1, SYMBOLS).warnings == ()


async def test_changes__what_rises_and_ends__is_told_in_order() -> None:
    warner = FakeWarner()
    following = changes(warner, SYMBOLS)
    first = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    warner.stream.tell([warned("0x1"), "0x1"])
    assert (await first).level == "danger"
    over = await anext(following)
    assert (over.key, over.level, over.sequence) == ("0x1", OVER, 1)
    await following.aclose()
    warner.stream.tell([warned("0x2")])  # nobody listens any more


async def test_changes__nobody_watches__ends_at_once() -> None:
    assert [row async for row in changes(None, SYMBOLS)] == []
