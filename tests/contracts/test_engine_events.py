"""From the engine's events alone, in their order, everything that it stores can be rebuilt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest

from contracts.book_words import decode_position, split_position_id
from contracts.margin_sides import NO_CUT, Cut, sums_after_cut
from tests.contracts.chain import Event
from tests.contracts.engines import KEEPER, TRADERS
from tests.contracts.test_engine_model import Walk

ADJUSTED_BIT = 1 << 250


class Ledger:
    """What a reader of events knows; it never asks the chain."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = defaultdict(int)
        self.accounts: dict[str, int] = defaultdict(int)
        self.positions: dict[int, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
        self.touched: dict[int, int] = {}  # sizes after cuts, until the position is stored
        self.sizes: dict[int, int] = defaultdict(int)
        self.flows: dict[int, int] = defaultdict(int)
        self.rules: dict[int, int] = {}
        self.settlements: dict[int, int] = defaultdict(int)
        self.pots: dict[int, int] = defaultdict(int)
        self.sums: dict[tuple[int, bool], int] = defaultdict(int)
        self.cuts: dict[tuple[int, bool], Cut] = defaultdict(lambda: NO_CUT)

    def read(self, events: Iterable[Event]) -> None:
        """Take events in, in their order."""
        for event in events:
            take = getattr(self, f"take_{event.name}", None)
            if take is not None:
                take(**event.fields)

    def take_BalanceChanged(self, account: str, balance: int) -> None:
        self.balances[account.lower()] = balance

    def take_AccountChanged(self, account: str, word: int) -> None:
        self.accounts[account.lower()] = word

    def take_CutsApplied(self, position_id: int, size: int, cash: int) -> None:
        self.pots[split_position_id(position_id)[1]] -= cash
        self.touched[position_id] = size

    def take_PositionRamped(self, position_id: int, word2: int) -> None:
        first, second, _ = self.positions[position_id]
        self.positions[position_id] = (first, second, word2)

    def take_PositionChanged(self, position_id: int, word0: int, word1: int) -> None:
        words = self.positions[position_id]
        old, market = decode_position(words), split_position_id(position_id)[1]
        if old.size:
            size = self.touched.pop(position_id, old.size)
            self.sums[market, old.long] -= size * old.basis
        word2 = words[2] if word0 & ADJUSTED_BIT else 0
        self.positions[position_id] = (word0, word1, word2)
        new = decode_position(self.positions[position_id])
        if new.size:
            self.sums[market, new.long] += new.size * new.basis

    def take_MarketChanged(self, market: int, sizes: int, flow: int) -> None:
        self.sizes[market], self.flows[market] = sizes, flow

    def take_RulesChanged(self, market: int, rules: int) -> None:
        self.rules[market] = rules

    def take_SettlementBegun(self, market: int, price: int) -> None:
        self.settlements[market] = price

    def take_SideCut(
        self, market: int, long: bool, number: int, keep_e27: int, cash: int, payout: int
    ) -> None:
        side, last = (market, long), self.cuts[market, long]
        self.cuts[side] = Cut(keep_e27=keep_e27, cash=cash)
        _, self.sums[side] = sums_after_cut(
            1 if long else -1, 0, self.sums[side], last, self.cuts[side]
        )
        self.pots[market] += payout
        assert number > 0


@pytest.mark.parametrize("seed", [21, 22])
def test_events__of_a_walk__rebuild_the_whole_state(seed):
    walk = Walk(seed, wild=True)
    walk.run(600)
    world, ledger = walk.world, Ledger()
    world.wait(86_401)
    world.begin_settlement(1)
    for identity in sorted(world.identities):
        world.settle(identity)
    for receipt in world.receipts:
        ledger.read(receipt.events)
    engine = world.engine
    for identity in world.identities:
        assert ledger.positions[identity] == engine.read("position", identity)
    for account in (*TRADERS, KEEPER):
        known = (ledger.accounts[account.lower()], ledger.balances[account.lower()])
        assert known == engine.read("account", account)
    for market in world.book.markets:
        assert engine.read("market", market) == (
            ledger.sizes[market],
            ledger.sums[market, True],
            ledger.sums[market, False],
            ledger.flows[market],
            ledger.rules[market],
            ledger.settlements[market],
            ledger.pots[market],
        )
    owing = [-balance for balance in ledger.balances.values() if balance < 0]
    assert sum(owing) == engine.read("debts")
    assert len(world.receipts) > 100
