"""What margin a hypothetical book would have along hypothetical prices; pure, and signs nothing.

Each position keeps its ratio all along: funding, ramps, fees and liquidations on the way are not
played, so a step says what would be asked for if nothing had been done until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.margin import (
    NOTHING,
    SizeE18,
    initial_margin,
    is_liquidatable,
    liquidation_price,
    maintenance_margin,
    unrealised_pnl,
)
from contracts.margin_account import AccountMargin, CrossPosition, account_margin
from contracts.units import LeverageE2, MarketId, Ppm, PriceE18, UsdcE6

Prices = Mapping[MarketId, PriceE18]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """A hypothetical position; `collateral` is 0 in a cross account."""

    market: MarketId
    is_cross: bool
    side: int
    size: SizeE18
    entry_price: PriceE18
    leverage_e2: LeverageE2
    maintenance_ppm: Ppm
    profit_share_ppm: Ppm
    collateral: UsdcE6 = NOTHING

    def at(self, price: PriceE18) -> CrossPosition:
        """Put it at a price."""
        return CrossPosition(
            side=self.side,
            size=self.size,
            entry_price=self.entry_price,
            price=price,
            leverage_e2=self.leverage_e2,
            maintenance_ppm=self.maintenance_ppm,
            profit_share_ppm=self.profit_share_ppm,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One position at one moment; `equity` is the account's where it is a cross one."""

    position: Supposed
    price: PriceE18
    profit: UsdcE6
    equity: UsdcE6
    initial: UsdcE6
    maintenance: UsdcE6
    liquidation_price: PriceE18 | None
    liquidatable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The whole book at one moment."""

    account: AccountMargin
    moments: tuple[Moment, ...]

    @property
    def liquidatable(self) -> bool:
        """Whether anything of it could be liquidated."""
        return any(each.liquidatable for each in self.moments)


def simulate(
    balance: UsdcE6, positions: Sequence[Supposed], path: Sequence[Prices]
) -> tuple[Step, ...]:
    """Value a book at each of the prices; each has every market of the book."""
    return tuple(step_at(balance, positions, prices) for prices in path)


def step_at(balance: UsdcE6, positions: Sequence[Supposed], prices: Prices) -> Step:
    """Value a book at one set of prices."""
    cross = [each.at(prices[each.market]) for each in positions if each.is_cross]
    account = account_margin(balance, cross)
    moments = tuple(_moment(each, prices[each.market], account) for each in positions)
    return Step(account=account, moments=moments)


def _moment(held: Supposed, price: PriceE18, account: AccountMargin) -> Moment:
    profit = unrealised_pnl(held.side, held.size, held.entry_price, price)
    own = maintenance_margin(held.size, price, held.maintenance_ppm)
    cushion, rest = held.collateral, NOTHING
    if held.is_cross:  # everything else of the account stays where it is
        cushion = UsdcE6(account.equity - profit)
        rest = UsdcE6(account.maintenance - own)
    equity = UsdcE6(cushion + profit)
    asked = UsdcE6(own + rest)
    return Moment(
        position=held,
        price=price,
        profit=profit,
        equity=equity,
        initial=initial_margin(held.size, price, held.leverage_e2),
        maintenance=own,
        liquidation_price=liquidation_price(
            held.side,
            held.size,
            held.entry_price,
            cushion,
            held.maintenance_ppm,
            other_maintenance=rest,
        ),
        liquidatable=is_liquidatable(equity, asked),
    )
