"""Facts about feedback: written when something changes, bounded, and joined by the loop itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.positions.ahead import Ahead, Foresight
from agent.positions.feedback import (
    JOINED_A_CYCLE,
    SETTLED_A_CYCLE,
    WATCHED_A_CYCLE,
    Feedback,
    closed_s,
)
from agent.positions.levels import Level
from agent.positions.look import Look
from agent.positions.warn import Warned
from contracts.messages import Domain
from contracts.units import MarketId, UnixS
from relayer.chain.index import Index
from relayer.chain.index_ledger import Ledger, Table
from relayer.chain.index_lives import CLOSED, COUNT_SLOT, SLOT_BITS, TRADES_KEPT
from relayer.chain.rpc import BlockStamp
from relayer.outcomes import DAY_S, Outcomes, Watched
from tests.agent.positions.test_warn import assessed

NOW_MS = 1_700_000_000_000
CALM = (0.002, 0.004, 0.008, 0.02)
FORESIGHT = Foresight(
    deviations=CALM, tail_long=0.01, tail_short=0.01, slippage=(0.001,), depth_usdc=1e6
)
AHEAD = Ahead(markets={MarketId(0): FORESIGHT})


class Noting(Outcomes):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.dues: list[tuple[tuple[str, ...], int]] = []
        self.rows: list[Watched] = []
        self.limits: list[int] = []
        self.before_ms = 0
        self.over: tuple[Watched, ...] = ()
        self.tests: Mapping[str, Any] | None = None

    async def due(self, positions: Sequence[str], block_number: int, at_s: int) -> None:
        del at_s
        self.dues.append((tuple(positions), block_number))

    async def watched(self, rows: Sequence[Watched]) -> None:
        self.rows += rows

    async def join(self, now_ms: int, limit: int) -> int:
        del now_ms
        self.limits.append(limit)
        return 0

    async def settling(self, before_ms: int, limit: int) -> tuple[Watched, ...]:
        self.limits.append(limit)
        self.before_ms = before_ms
        return self.over

    async def settle(self, rows: Sequence[Watched], now_ms: int) -> tuple[Watched, ...]:
        del now_ms
        return tuple(rows)

    async def chance_tests(self) -> Mapping[str, Any] | None:
        return self.tests

    async def keep_chance_tests(self, state: Mapping[str, Any]) -> None:
        self.tests = state


def look(number: int, *weak: int) -> Look:
    stamp = BlockStamp(number=number, block_hash=b"", timestamp_s=NOW_MS // 1_000, base_fee_wei=0)
    return Look(
        stamp=stamp,
        domain=Domain(chain_id=1, contract="0x" + "0a" * 20, config_digest=bytes(32)),
        readings=None,  # type: ignore[arg-type]
        markets={},
        screened=(),
        weak=dict.fromkeys(weak),  # type: ignore[arg-type]
        took_s=0.0,
    )


async def test_looked__nobody_is_due__is_written_once() -> None:
    noting = Noting()
    feedback = Feedback(noting)
    for number, weak in enumerate([(), (), (7,), (7, 8), (), ()], 1):
        await feedback.looked(look(number, *weak))
    await feedback.looked(None)
    assert noting.dues == [
        ((), 1),
        ((f"{7:046x}",), 3),
        ((f"{7:046x}", f"{8:046x}"), 4),
        ((), 5),
    ]


async def test_cycle__a_long_board__writes_the_most_urgent_only() -> None:
    noting = Noting()
    feedback = Feedback(noting)
    await feedback.looked(look(1))
    board = [
        Warned(found=assessed(Level.DANGER, key=f"{number:046x}"), since_ms=NOW_MS)
        for number in range(500)
    ]
    board[1] = replace(board[1], found=replace(board[1].found, market=MarketId(9)))
    await feedback.after_cycle(board, Index(), AHEAD, NOW_MS)
    assert len(noting.rows) == WATCHED_A_CYCLE - 1  # of another market nothing was forecast
    assert noting.rows[0].facts["deviations"] == list(CALM)
    assert noting.rows[0].facts["distance"] == 0.01
    assert noting.limits == [JOINED_A_CYCLE, SETTLED_A_CYCLE]
    assert noting.before_ms == NOW_MS - DAY_S * 1_000


async def test_cycle__nobody_has_a_position_any_more__days_end_by_the_block_of_the_cycle() -> None:
    noting, chain_s = Noting(), NOW_MS // 1_000
    feedback = Feedback(noting)
    await feedback.looked(None)
    await feedback.after_cycle((), Index(), replace(AHEAD, chain_s=chain_s), NOW_MS)
    assert noting.before_ms == (chain_s - DAY_S) * 1_000


def traded(*closed: int) -> Index:
    ledger, account = Ledger(), 7
    for number, at_s in enumerate(closed):
        slot = account << SLOT_BITS | number
        ledger.put(Table.TRADE, slot, (0, 1, 1, UnixS(at_s), 500, 20_000, 10**9, CLOSED))
    ledger.put(Table.TRADE, account << SLOT_BITS | COUNT_SLOT, (len(closed),))
    return Index(ledger)


def test_closed__within_the_day_or_unknown__is_said() -> None:
    facts = {"account": f"0x{7:040x}", "market": 0, "side": 1}
    row = Watched(watched_as="a", at_ms=1_000_000, facts=facts)
    assert closed_s(row, traded(900, 1_500, 2_000)) == 1_500
    assert closed_s(row, traded(900, 1_000 + DAY_S + 1)) is None
    assert closed_s(replace(row, facts=facts | {"side": -1}), traded(1_500)) is None
    many = traded(*range(200_000, 200_000 + TRADES_KEPT))
    assert closed_s(row, many) == 1_000


async def test_after_cycle__a_day_is_over__chances_are_held_against_it_and_a_restart_goes_on() -> (
    None
):
    noting, index = Noting(), Index()
    facts = {"account": "0x" + "00" * 20, "chances": [0.1, 0.2, 0.3, 0.4], "distance": 0.1}
    noting.over = (Watched(watched_as="a", at_ms=NOW_MS, facts={**facts, "market": 0, "side": 1}),)
    await Feedback(noting).after_cycle((), index, AHEAD, NOW_MS)
    first = noting.tests
    assert first is not None
    assert [each[1] for each in first["steps"].values()] == [1, 1, 1, 1]
    later = replace(noting.over[0], at_ms=NOW_MS + 900_000)
    noting.over = (later,)
    await Feedback(noting).after_cycle((), index, AHEAD, NOW_MS)
    assert noting.tests is not None
    assert noting.tests["detectors"].keys() == {"900/low", "900/high"}
