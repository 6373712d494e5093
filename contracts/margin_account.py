"""A cross account as one: what it owns, what is asked of it, what it may take out, who is riskier.

Pure and integer; the units of margin.py. Sums are of amounts that are rounded already, so the order
of the positions never matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.margin import (
    NO_RATIO,
    NOTHING,
    SizeE18,
    check,
    check_side,
    initial_margin,
    maintenance_margin,
    notional_up,
    unrealised_pnl,
)
from contracts.units import PPM, LeverageE2, Ppm, PriceE18, UsdcE6, ppm_ceil, ppm_floor

LOCKED_PPM: Final = Ppm(100_000)  # Hyperliquid's transfer rule: 10 % of the notional stays


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossPosition:
    """One position of a cross account, at the mark or, where that is stale, the last good price.

    `funding`: what funding brings it by now, signed. `profit_share_ppm`: how much of its profit may
    carry new positions. `is_live`: its price is fresh, and its market neither frozen nor paused.
    """

    side: int
    size: SizeE18
    entry_price: PriceE18
    price: PriceE18
    leverage_e2: LeverageE2
    maintenance_ppm: Ppm
    profit_share_ppm: Ppm = NO_RATIO
    funding: UsdcE6 = NOTHING
    is_live: bool = True

    def __post_init__(self) -> None:
        """Refuse what no position can be."""
        check_side(self.side)
        check("size", self.size, 1)
        check("price", self.price, 1)
        check("profit_share_ppm", self.profit_share_ppm, 0, PPM)
        check("funding", self.funding)

    @property
    def profit(self) -> UsdcE6:
        """What it adds to the account: without a live price its loss in full, its profit not."""
        profit = unrealised_pnl(self.side, self.size, self.entry_price, self.price) + self.funding
        return UsdcE6(profit if self.is_live else min(0, profit))

    @property
    def reusable_profit(self) -> UsdcE6:
        """What it adds for new positions: the loss in full, of the profit its share, down."""
        return UsdcE6(min(self.profit, ppm_floor(self.profit, self.profit_share_ppm)))

    @property
    def initial(self) -> UsdcE6:
        """The initial margin that it locks."""
        return initial_margin(self.size, self.price, self.leverage_e2)

    @property
    def maintenance(self) -> UsdcE6:
        """The maintenance margin that it asks for."""
        return maintenance_margin(self.size, self.price, self.maintenance_ppm)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMargin:
    """The sums of a cross account.

    `equity`: balance and all profit. `opening_equity`: balance, losses, and the profit that may
    carry new positions. `is_live`: every price is; opening and withdrawing need it, liquidation
    never does.
    """

    balance: UsdcE6
    equity: UsdcE6
    opening_equity: UsdcE6
    initial: UsdcE6
    maintenance: UsdcE6
    notional: UsdcE6
    is_live: bool

    @property
    def free_margin(self) -> UsdcE6:
        """What is left to open new positions with; 0 while a price is not live."""
        free = max(0, self.opening_equity - self.initial)
        return UsdcE6(free if self.is_live else 0)

    @property
    def withdrawable(self) -> UsdcE6:
        """What may leave the account; 0 while a price is not live."""
        locked = locked_margin(self.initial, self.notional)
        most = withdrawable(self.balance, self.equity, locked)
        return most if self.is_live else UsdcE6(0)


def account_margin(balance: UsdcE6, positions: Sequence[CrossPosition]) -> AccountMargin:
    """Add up a cross account."""
    check("balance", balance)
    return AccountMargin(
        balance=balance,
        equity=UsdcE6(balance + sum(each.profit for each in positions)),
        opening_equity=UsdcE6(balance + sum(each.reusable_profit for each in positions)),
        initial=UsdcE6(sum(each.initial for each in positions)),
        maintenance=UsdcE6(sum(each.maintenance for each in positions)),
        notional=UsdcE6(sum(notional_up(each.size, each.price) for each in positions)),
        is_live=all(each.is_live for each in positions),
    )


def locked_margin(initial: UsdcE6, notional: UsdcE6) -> UsdcE6:
    """Give what has to stay after any withdrawal: max(initial margin, 10 % of notional), up.

    For an account or an isolated position alike; `notional` is the whole one, rounded up.
    """
    check("initial", initial, 0)
    check("notional", notional, 0)
    return UsdcE6(max(initial, ppm_ceil(notional, LOCKED_PPM)))


def withdrawable(balance: UsdcE6, equity: UsdcE6, locked: UsdcE6) -> UsdcE6:
    """Give what may be taken out: equity above what is locked, and never more than the balance.

    `balance` is the credited USDC: unrealised profit can keep margin free, but is paid by nobody
    before it is realised. For isolated margin `balance` is the position's own collateral.
    """
    return UsdcE6(max(0, min(balance, equity - locked)))


def liquidation_order(positions: Sequence[CrossPosition]) -> tuple[int, ...]:
    """Give the positions' indices in the order of liquidation: largest maintenance first.

    Equal ones go in the order given (the engine's: by market id). Markets without a live price are
    left aside: they wait, and block nobody.
    """
    live = [index for index, each in enumerate(positions) if each.is_live]
    return tuple(sorted(live, key=lambda index: -positions[index].maintenance))


def compare_risk(
    first_equity: int, first_maintenance: int, second_equity: int, second_maintenance: int
) -> int:
    """Order two accounts by equity ÷ maintenance: 1 when the first is riskier, −1 the second, 0.

    Exact, by cross multiplication. Equal ratios: more maintenance is riskier, then less equity.
    """
    first = (-first_equity * second_maintenance, first_maintenance, -first_equity)
    second = (-second_equity * first_maintenance, second_maintenance, -second_equity)
    return (first > second) - (first < second)


def is_valid_transition(
    old_equity: int, old_maintenance: int, new_equity: int, new_maintenance: int
) -> bool:
    """Tell whether an account that lacks initial margin may do what leaves it so.

    Only risk may fall: maintenance does not rise, and equity ÷ maintenance does not fall. What
    closes everything (maintenance 0) leaves it owing nothing.
    """
    if new_maintenance == 0:
        return new_equity >= 0
    holds = new_equity * old_maintenance >= old_equity * new_maintenance
    return new_maintenance <= old_maintenance and holds
