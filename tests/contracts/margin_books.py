"""What is read back from the margin contracts in tests: words taken apart, and what must agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from contracts.envelope import join_bits, split_bits
from contracts.units import floor_div

E30: Final = 10**30
E27: Final = 10**27
ISOLATED: Final = 1
CROSS: Final = 2
_POSITION_0: Final = (120, 112, 16, 1, 1, 1)
_POSITION_1: Final = (64, 20, 20, 32, 44, 15)
_ACCOUNT: Final = (64, 28, 4, *([16] * 10))
_FLOW: Final = (112, 72, 40, 15, 15, 1, 1)
RULES: Final = {
    "fee_ppm": 16,
    "impact_ppm": 20,
    "funding_daily_ppm": 20,
    "interest_share_ppm": 20,
    "skew_share_ppm": 20,
    "penalty_min_ppm": 16,
    "penalty_max_ppm": 20,
    "cut_share_ppm": 20,
    "min_notional_usdc": 24,
    "reward_e6": 24,
    "execution_fee_e6": 24,
    "liquidation_age_s": 16,
    "band_ppm": 16,
}


def signed(bits: int, width: int) -> int:
    """Read two's complement of a field."""
    return bits - (1 << width) if bits >> (width - 1) else bits


def rules_word(rules: dict[str, int]) -> int:
    """Pack a market's rules."""
    return join_bits([rules[name] for name in RULES], list(RULES.values()))


def position_id(account: str, market: int, mode: int) -> int:
    """Name a position as the engine does."""
    return int(account, 16) << 24 | market << 8 | mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A position as it is stored: cuts since its last touch are not applied."""

    size: int
    basis: int
    leverage_e2: int
    long: bool
    managed: bool
    adjusted: bool
    collateral: int
    maintenance_ppm: int
    ceiling_ppm: int
    version: int
    stamp_ms: int
    cuts: int

    @property
    def side(self) -> int:
        """+1 long, −1 short."""
        return 1 if self.long else -1


def decode_position(first: int, second: int) -> Held:
    """Take a position's words apart."""
    size, basis, leverage, long, managed, adjusted = split_bits(first, _POSITION_0)
    collateral, maintenance, ceiling, version, stamp, cuts = split_bits(second, _POSITION_1)
    return Held(
        size=size,
        basis=signed(basis, 112),
        leverage_e2=leverage,
        long=bool(long),
        managed=bool(managed),
        adjusted=bool(adjusted),
        collateral=collateral,
        maintenance_ppm=maintenance,
        ceiling_ppm=ceiling,
        version=version,
        stamp_ms=stamp,
        cuts=cuts,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An account as it is stored."""

    balance: int
    nonce: int
    promised: int
    markets: tuple[int, ...]


def decode_account(word: int, balance: int) -> Holder:
    """Take an account's word apart."""
    nonce, promised, count, *markets = split_bits(word, _ACCOUNT)
    return Holder(balance=balance, nonce=nonce, promised=promised, markets=tuple(markets[:count]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """A market as it is stored."""

    long_size: int
    short_size: int
    long_basis: int
    short_basis: int
    index: int
    rate: int
    at_s: int
    long_cuts: int
    short_cuts: int
    settled: bool
    rules: int
    settlement_price: int
    pot: int

    def index_at(self, now_s: int) -> int:
        """Give the funding index at a time."""
        return self.index if self.settled else self.index + self.rate * (now_s - self.at_s)


def decode_market(words: Iterable[Any]) -> Flows:
    """Take a market's words apart."""
    sizes, long_basis, short_basis, flow, rules, settlement, pot = words
    index, rate, at_s, long_cuts, short_cuts, _, settled = split_bits(flow, _FLOW)
    return Flows(
        long_size=sizes & (2**120 - 1),
        short_size=sizes >> 120,
        long_basis=long_basis,
        short_basis=short_basis,
        index=signed(index, 112),
        rate=signed(rate, 72),
        at_s=at_s,
        long_cuts=long_cuts,
        short_cuts=short_cuts,
        settled=bool(settled),
        rules=rules,
        settlement_price=settlement,
        pot=pot,
    )


def side_profits(market: Flows, price: int, now_s: int) -> tuple[int, int]:
    """Give longs' and shorts' unrealised profit at a price, funding in it, each rounded down."""
    net = price - market.index_at(now_s)
    return (
        floor_div(market.long_size * net - market.long_basis, E30),
        floor_div(market.short_basis - market.short_size * net, E30),
    )


def cut(held: Held, taken: tuple[int, int], now: tuple[int, int]) -> tuple[int, int]:
    """Apply a side's cuts to a position: its size now, and what the pot owes it, USDC e6.

    `taken` and `now`: the side's (keep, cash) when it was stored, and now.
    """
    (kept_0, cash_0), (kept_1, cash_1) = taken, now
    size = floor_div(held.size * kept_1, kept_0)
    unit = floor_div(held.side * ((cash_1 - cash_0) - held.basis * (kept_0 - kept_1)), kept_0)
    return size, floor_div(held.size * unit, E30)


class Books(Protocol):
    """What the invariants read."""

    def held(self, account: str, market: int, mode: int) -> Held: ...
    def holder(self, account: str) -> Holder: ...
    def flows(self, market: int) -> Flows: ...
    def cut_at(self, market: int, long: bool, number: int) -> tuple[int, int]: ...
    def totals(self) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What all accounts' positions come to, cuts applied."""

    sizes: dict[tuple[int, bool], int]
    bases: dict[tuple[int, bool], int]
    owed: int  # balances above 0, collateral, and what pots owe
    debts: int
    count: int


def add_up(books: Books, accounts: Iterable[str], markets: int) -> Sums:
    """Add up every account's positions in every market."""
    sizes = {(market, long): 0 for market in range(markets) for long in (True, False)}
    bases = dict(sizes)
    owed = debts = count = 0
    for account in accounts:
        holder = books.holder(account)
        owed += max(0, holder.balance)
        debts += max(0, -holder.balance)
        for market in range(markets):
            for mode in (ISOLATED, CROSS):
                held = books.held(account, market, mode)
                assert (mode == CROSS and held.size > 0) == (
                    mode == CROSS and market in holder.markets
                ), "the list of cross positions differs from the positions"
                if held.size == 0:
                    assert held.collateral == 0, "collateral without a position"
                    continue
                size, cash = _now(books, held, market)
                sizes[market, held.long] += size
                bases[market, held.long] += size * held.basis
                owed += held.collateral + cash
                count += 1
    return Sums(sizes=sizes, bases=bases, owed=owed, debts=debts, count=count)


def _now(books: Books, held: Held, market: int) -> tuple[int, int]:
    flows = books.flows(market)
    number = flows.long_cuts if held.long else flows.short_cuts
    if number == held.cuts:
        return held.size, 0
    return cut(
        held,
        books.cut_at(market, held.long, held.cuts),
        books.cut_at(market, held.long, number),
    )


def check(books: Books, accounts: Iterable[str], markets: int, escrow: int) -> None:
    """Assert what must hold after every call; `escrow`: margin and fees of waiting requests."""
    sums, totals = add_up(books, accounts, markets), books.totals()
    assert totals["credited"] <= totals["vault_tokens"], "the vault owes more than it holds"
    pool = totals["pool"] + totals["insurance"] + totals["pending"]
    assert pool <= totals["pool_tokens"], "the pool owes more than it holds"
    assert totals["debts"] == sums.debts, "debts are not the negative balances"
    slack = totals["credited"] - sums.owed - escrow
    # Roundings of pots stay behind in the vault: never more than a unit a position and cut.
    assert slack >= 0, f"traders are owed {-slack} more than is credited"
    for market in range(markets):
        _check_market(books.flows(market), sums, market)


def _check_market(flows: Flows, sums: Sums, market: int) -> None:
    cut_once = flows.long_cuts + flows.short_cuts > 0
    for long, size, basis in (
        (True, flows.long_size, flows.long_basis),
        (False, flows.short_size, flows.short_basis),
    ):
        missing = size - sums.sizes[market, long]
        allowed = sums.count if cut_once else 0
        assert 0 <= missing <= allowed, f"open interest of market {market} is off by {missing}"
        if not cut_once:
            assert basis == sums.bases[market, long], f"basis of market {market} differs"
