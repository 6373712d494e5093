"""Margin contracts and book model side by side: a call goes to both, and must do the same.

`Twin.do` sends a call, asks the model for the same, compares the outcome and every storage word
that either has touched. What the model reads of the outside is read from the real feed and oracle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from contracts.book import NO_CUT, Book, MarketBook, Refused
from contracts.book_margin import health
from contracts.book_readings import Reading, Readings, decode_margin, decode_mark
from contracts.book_views import market_words
from contracts.book_words import (
    CROSS,
    ISOLATED,
    Account,
    MarketRules,
    Position,
    PositionId,
    account_number,
    encode_account,
    encode_pace,
    encode_position,
    encode_rules,
    position_id,
)
from contracts.margin import LONG, SHORT
from contracts.packing import RiskFields, pack_amount
from contracts.pool import PoolState
from contracts.refusals import Refusal
from contracts.units import MarketId, UnixS, UsdcE6, WholeUsdc
from tests.contracts.chain import Contract, Evm, RefusedError
from tests.contracts.margin_world import (
    ANY_PRICE,
    KEEPER,
    LP,
    MARKET_RULES,
    OWNER,
    TRADERS,
    MarginWorld,
    on_grid,
)
from tests.contracts.world import BOUNDS

E18 = 10**18
PLENTY = 10**18  # USDC e6: more than anybody spends
PRICES = {0: on_grid(2_000 * E18), 1: on_grid(E18 // 2), 2: on_grid(100_000 * E18)}
RULES: dict[int, MarketRules] = {
    0: MARKET_RULES,
    1: replace(MARKET_RULES, cut_share_ppm=5_000, funding_daily_ppm=50_000, band_ppm=20_000),
    2: replace(MARKET_RULES, cut_share_ppm=2_000, fee_ppm=900, impact_ppm=500, band_ppm=15_000),
}


def word(value: int) -> bytes:
    """Write a number as the ABI does, two's complement below 0."""
    return (value & ANY_PRICE).to_bytes(32, "big")


def words(values: Iterable[int]) -> bytes:
    """Write numbers one after the other."""
    return b"".join(map(word, values))


def split(output: bytes) -> tuple[int, ...]:
    """Read numbers one after the other, none below 0."""
    return tuple(int.from_bytes(output[i : i + 32], "big") for i in range(0, len(output), 32))


def signed(value: int) -> int:
    """Read two's complement."""
    return value - 2**256 if value >> 255 else value


class Sides(MarginWorld):
    """The world, with everybody rich, and prices of very different size."""

    def __init__(self, evm: Evm | None = None) -> None:
        super().__init__(evm)
        for account in TRADERS:
            self.mint(account, PLENTY, self.vault)
        for account in (*TRADERS, LP):
            self.mint(account, PLENTY, self.pool)
        self.wait(121)
        self.post(PRICES)
        for market, rules in RULES.items():
            self.engine.send(OWNER, "set_rules", market, encode_rules(rules))


def with_scale(fields: RiskFields, scale_usdc: int) -> RiskFields:
    """Give parameters of a market that bears less."""
    return fields._replace(size_scale=pack_amount(WholeUsdc(scale_usdc)))


class Twin:
    """Contracts and model; `done` counts outcomes by operation."""

    def __init__(self, world: MarginWorld | None = None) -> None:
        self.world = world or Sides()
        self.done: Counter[tuple[str, str]] = Counter()
        self.calls = 0
        self.selectors: dict[tuple[str, str], bytes] = {}
        self.epoch_ended_s: dict[int, UnixS] = {}
        self._seen: Readings | None = None
        self._slow: dict[int, tuple[int, int]] = {}
        self.addresses = {account_number(a): a for a in (*TRADERS, KEEPER, LP, OWNER)}
        self.book = self._begun()
        self.outside = tuple(self.book.markets)  # what feed and oracle know

    def _begun(self) -> Book:
        """Take over markets that nobody traded in, and a pool that nobody owes."""
        count = self.read(self.world.engine, "market_count")[0]
        markets = {}
        for market in range(count):
            found = self.world.market(market)
            rules = RULES.get(market, MARKET_RULES)
            assert encode_rules(rules) == found.rules
            markets[MarketId(market)] = MarketBook(rules=rules, at_s=found.flow.at_s)
        return Book(markets=markets, pool=self.pool_state())

    # raw calls

    def data(self, contract: Contract, function: str, arguments: bytes) -> bytes:
        key = (contract.address, function)
        if key not in self.selectors:
            self.selectors[key] = contract.selector(function)
        return self.selectors[key] + arguments

    def read(self, contract: Contract, function: str, *arguments: int) -> tuple[int, ...]:
        """Call a view of static results."""
        data = self.data(contract, function, words(arguments))
        return split(self.world.evm.read(contract.address, data))

    def address(self, account: Account) -> str:
        return self.addresses[account]

    # what stands outside

    @property
    def now_s(self) -> int:
        return self.world.evm.now_s

    @property
    def seen(self) -> Readings:
        """What feed and oracle show in this block."""
        if self._seen is None:
            self._seen = self._look()
        return self._seen

    def changed(self, *, slow: bool = True) -> None:
        """Forget what was read: time, prices, parameters or pauses are others now."""
        self._seen = None
        if slow:
            self._slow = {}

    def wait(self, seconds: int) -> None:
        """Let time pass for both."""
        self.world.wait(seconds)
        self.changed(slow=False)

    def _look(self) -> Readings:
        feed, oracle = self.world.feed.contract, self.world.oracle.contract
        every = {}
        for market in self.outside:
            if market not in self._slow:
                resumed = self.read(oracle, "liquidation_resumes_at", market)[0]
                self._slow[market] = (self.read(feed, "resumed_at", market)[0], resumed)
            gap_s, resumes_s = self._slow[market]
            every[market] = Reading(
                mark=decode_mark(*self.read(feed, "mark", market)),
                limits=decode_margin(self.read(oracle, "margin", market)[0]),
                price_resumed_at_s=UnixS(gap_s),
                liquidation_resumes_at_s=UnixS(resumes_s),
                notice_s=BOUNDS.notice_s,
            )
        return Readings(
            now_s=UnixS(self.now_s),
            markets=every,
            withdrawals_open=bool(self.read(oracle, "withdrawals_open")[0]),
            ai_epoch=self.read(oracle, "ai_epoch")[0],
            epoch_ended_s=dict(self.epoch_ended_s),
        )

    def controlled(self) -> None:
        """Read again what only the owner, the guardian or a signed update changes."""
        oracle = self.world.oracle.contract
        epoch = self.read(oracle, "ai_epoch")[0]
        last = (epoch - 1) % 64
        self.epoch_ended_s[last] = UnixS(self.read(oracle, "ramp_stopped_at", last)[0])
        self.epoch_ended_s.pop(epoch, None)
        self.changed()

    # one call to both

    def do(
        self,
        operation: str,
        call: tuple[str, Contract, str, bytes],
        model: Callable[[], Book],
    ) -> Refusal | None:
        """Send a call, and ask the model; give the refusal of both, None for success."""
        sender, contract, function, arguments = call
        seen = self.seen
        self.calls += 1
        refusal = self.send(sender, contract, function, arguments)
        try:
            after, asked = model(), None
        except Refused as refused:
            after, asked = self.book, refused.refusal
        if asked is not refusal and self._is_outer(function, contract, arguments, refusal):
            after, asked = self.book, refusal
        self.done[operation, "ok" if refusal is None else refusal.name] += 1
        assert asked is refusal, f"{operation}: contracts {refusal!r}, model {asked!r}"
        assert seen is self.seen
        before, self.book = self.book, after
        if refusal is None:
            self.compare(before)
        return refusal

    def send(
        self, sender: str, contract: Contract, function: str, arguments: bytes
    ) -> Refusal | None:
        """Send a call to the contracts alone."""
        try:
            data = self.data(contract, function, arguments)
            self.output = self.world.evm.send(sender, contract.address, data).output
        except RefusedError as refused:
            return refused.refusal
        return None

    def _is_outer(
        self, function: str, contract: Contract, arguments: bytes, refusal: Refusal | None
    ) -> bool:
        """Tell whether the oracle itself refuses what was signed: the model knows no signatures."""
        verify = {
            "request_open": ("verify_position_terms", 15),
            "change_terms": ("verify_position_terms", 15),
            "liquidate_signed": ("verify_position_action", 10),
            "deleverage": ("verify_position_action", 10),
            "adjust": ("verify_position_action", 10),
        }.get(function)
        if verify is None or refusal is None or not 20 <= refusal < 100:
            return False
        name, count = verify
        at = int.from_bytes(arguments[32 * count : 32 * (count + 1)], "big")
        moved = arguments[: 32 * count] + word(32 * (count + 1)) + arguments[at:]
        return self.send(KEEPER, self.world.oracle.contract, name, moved) is refusal

    # comparison

    def compare(self, before: Book) -> None:
        """Compare what the model has changed since, and all sums."""
        book = self.book
        for identity in changed(before.positions, book.positions):
            self.compare_position(identity, book.position(identity))
        for account in changed(before.accounts, book.accounts):
            self.compare_account(account)
        for market in changed(before.markets, book.markets):
            self.compare_market(market)
        for account in changed(before.graces, book.graces):
            (found,) = self.read(self.world.liquidator, "graces", account)
            assert found == book.grace(account), f"grace of {account:#x}"
        for market in changed(before.paces, book.paces):
            (found,) = self.read(self.world.liquidator, "pace", market)
            assert found == encode_pace(book.pace(market)), f"pace of market {market}"
        self.compare_money()

    def compare_money(self) -> None:
        book, world = self.book, self.world
        assert self.read(world.vault, "credited")[0] == book.credited, "credited"
        assert self.read(world.engine, "debts")[0] == book.debts, "debts"
        assert self.pool_state() == book.pool, "the pool's totals"

    def pool_state(self) -> PoolState:
        assets, insurance, pending, *shares = self.read(self.world.pool, "totals")
        return PoolState(
            assets=UsdcE6(assets),
            insurance=UsdcE6(insurance),
            pending=UsdcE6(pending),
            shares=shares[0],
            insurance_shares=shares[1],
        )

    def compare_position(self, identity: PositionId, held: Position) -> None:
        found = self.read(self.world.engine, "position", identity)
        assert found == encode_position(held), f"position {identity:#x}"

    def compare_account(self, account: Account) -> None:
        held = self.book.account(account)
        found, balance = self.read(self.world.engine, "account", account)
        assert found == encode_account(held), f"account {account:#x}"
        assert signed(balance) == held.balance, f"balance of {account:#x}"

    def compare_market(self, market: MarketId) -> None:
        found = self.read(self.world.engine, "market", market)
        asked = tuple(value & ANY_PRICE for value in market_words(self.book, market))
        assert found == asked, f"market {market}"
        for side in (LONG, SHORT):
            held = self.book.market(market).side(side)
            keep, cash = self.read(
                self.world.engine, "cut_at", market, int(side == LONG), held.number
            )
            last = held.cuts[-1] if held.number else NO_CUT
            assert (keep, signed(cash)) == (last.keep_e27, last.cash), f"cuts of market {market}"

    def compare_all(self) -> None:
        """Compare everything that is stored anywhere, and what is owed with what is there."""
        book, world = self.book, self.world
        for account in self.addresses:
            self.compare_account(account)
            for market in book.markets:
                for mode in (ISOLATED, CROSS):
                    identity = position_id(account, market, mode)
                    self.compare_position(identity, book.position(identity))
                    self.compare_health(identity)
        for market in book.markets:
            self.compare_market(market)
            (found,) = self.read(world.liquidator, "pace", market)
            assert found == encode_pace(book.pace(market))
        self.compare_money()

    def compare_health(self, identity: PositionId) -> None:
        """Compare how a position stands, in the contracts' own words."""
        found = self.read(self.world.engine, "health", identity)
        asked = health(self.book, self.seen, identity)
        own = asked.standing
        ours = (
            asked.equity,
            asked.maintenance,
            asked.own_maintenance,
            own.position.size,
            own.ratio_ppm,
            own.position.version,
            asked.largest_market,
            asked.absent,
        )
        theirs = (signed(found[0]), *found[1:4], found[6], found[8], *found[17:19])
        assert theirs == ours, f"health of {identity:#x}: {theirs}, the model {ours}"


def changed(before: Any, after: Any) -> list[Any]:
    """List the keys under which another value stands."""
    if before is after:
        return []
    return [key for key, value in after.items() if before.get(key) is not value]
