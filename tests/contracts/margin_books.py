"""What must agree in the margin contracts after every call, read from their words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from contracts.book_words import (
    CROSS,
    ISOLATED,
    AccountBook,
    Flow,
    Position,
    decode_flow,
    decode_sizes,
)
from contracts.margin import LONG, SHORT
from contracts.margin_sides import Cut, cash_of_cuts, index_at, side_profit, size_after_cuts

BOTH: Final = (ISOLATED, CROSS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A market as it is stored."""

    long_size: int
    short_size: int
    long_basis: int
    short_basis: int
    flow: Flow
    rules: int
    settlement_price: int
    pot: int

    def index_at(self, now_s: int) -> int:
        """Give the funding index at a time."""
        elapsed_s = 0 if self.flow.settled else now_s - self.flow.at_s
        return index_at(self.flow.index, self.flow.rate, elapsed_s)

    def profits(self, price: int, now_s: int) -> tuple[int, int]:
        """Give longs' and shorts' unrealised profit at a price, each rounded down."""
        net = price - self.index_at(now_s)
        return (
            side_profit(LONG, self.long_size, self.long_basis, net),
            side_profit(SHORT, self.short_size, self.short_basis, net),
        )


def decode_market(words: Iterable[Any]) -> Market:
    """Take apart what `MarginEngine.market` gives."""
    sizes, long_basis, short_basis, flow, rules, settlement, pot = words
    long_size, short_size = decode_sizes(sizes)
    return Market(
        long_size=long_size,
        short_size=short_size,
        long_basis=long_basis,
        short_basis=short_basis,
        flow=decode_flow(flow),
        rules=rules,
        settlement_price=settlement,
        pot=pot,
    )


class Books(Protocol):
    """What the invariants read."""

    def held(self, account: str, market: int, mode: int) -> Position: ...
    def holder(self, account: str) -> AccountBook: ...
    def market(self, market: int) -> Market: ...
    def cut_at(self, market: int, long: bool, number: int) -> Cut: ...
    def totals(self) -> dict[str, int]: ...


@dataclass(slots=True)
class Sums:
    """What all accounts' positions come to, cuts applied."""

    sizes: dict[tuple[int, bool], int]
    bases: dict[tuple[int, bool], int]
    owed: int = 0  # balances above 0, collateral, and what pots owe
    debts: int = 0
    positions: int = 0


def add_up(books: Books, accounts: Iterable[str], markets: int) -> Sums:
    """Add up every account's positions in every market."""
    sides = [(market, long) for market in range(markets) for long in (True, False)]
    sums = Sums(sizes=dict.fromkeys(sides, 0), bases=dict.fromkeys(sides, 0))
    for account in accounts:
        holder = books.holder(account)
        sums.owed += max(0, holder.balance)
        sums.debts += max(0, -holder.balance)
        for market in range(markets):
            for mode in BOTH:
                _add(books, sums, books.held(account, market, mode), market)
            is_open = books.held(account, market, CROSS).size > 0
            assert is_open == (market in holder.markets), "the list of cross positions is wrong"
    return sums


def _add(books: Books, sums: Sums, held: Position, market: int) -> None:
    assert held.size > 0 or held.collateral == 0, "collateral without a position"
    if held.size == 0:
        return
    flow = books.market(market).flow
    then = books.cut_at(market, held.long, held.cuts)
    now = books.cut_at(market, held.long, flow.long_cuts if held.long else flow.short_cuts)
    size = size_after_cuts(held.size, then, now)
    sums.sizes[market, held.long] += size
    sums.bases[market, held.long] += size * held.basis
    sums.owed += held.collateral + cash_of_cuts(held.side, held.size, held.basis, then, now)
    sums.positions += 1


def check(books: Books, accounts: Iterable[str], markets: int, escrow: int) -> None:
    """Assert what must hold after every call; `escrow`: margin and fees of waiting requests."""
    sums, totals = add_up(books, accounts, markets), books.totals()
    assert totals["credited"] <= totals["vault_tokens"], "the vault owes more than it holds"
    pool = totals["pool"] + totals["insurance"] + totals["pending"]
    assert pool <= totals["pool_tokens"], "the pool owes more than it holds"
    assert totals["debts"] == sums.debts, "debts are not the negative balances"
    found = [books.market(market) for market in range(markets)]
    cuts = sum(each.flow.long_cuts + each.flow.short_cuts for each in found)
    # What pots round down stays in the vault: some units a cut and position.
    slack = totals["credited"] - sums.owed - escrow
    assert slack >= 0, f"traders are owed {-slack} more than is credited"
    assert slack <= cuts * (sums.positions + 8), f"{slack} is credited that nobody is owed"
    for market, each in enumerate(found):
        _check_market(each, sums, market)


def _check_market(found: Market, sums: Sums, market: int) -> None:
    flow = found.flow
    for long, size, basis, cuts in (
        (True, found.long_size, found.long_basis, flow.long_cuts),
        (False, found.short_size, found.short_basis, flow.short_cuts),
    ):
        missing = size - sums.sizes[market, long]
        most = cuts * (sums.positions + 1)
        assert 0 <= missing <= most, f"open interest of market {market} is off by {missing}"
        if not cuts:
            assert basis == sums.bases[market, long], f"basis of market {market} differs"
