"""The liquidator among a double of all around it: positions, prices, pools as a test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import pytest

from contracts import margin, margin_losses, margin_price
from contracts.fields import checksummed, keccak256
from contracts.refusals import Refusal
from contracts.units import PPM, USDC
from tests.contracts.chain import Contract, Event, Evm, Receipt, RefusedError, new_evm
from tests.contracts.doubles import double
from tests.contracts.margins import e18
from tests.contracts.world import OWNER

TRADER, KEEPER = (
    checksummed("0x" + keccak256(role.encode())[12:].hex()) for role in ("trader", "keeper")
)
MARKET = 7
ISOLATED, CROSS = 1, 2
ADJUST, DELEVERAGE, LIQUIDATE = 1, 2, 3

FEE_PPM, IMPACT_PPM, SPREAD_PPM = 500, 10_000, 1_000
PENALTY_MIN_PPM, PENALTY_MAX_PPM = 1_000, 20_000
CUT_SHARE_PPM = 400_000
MIN_NOTIONAL_USDC, REWARD_E6 = 100, 50_000
AGE_S, BAND_PPM = 60, 20_000
SCALE_USDC = 1_000_000

RULES = (
    FEE_PPM
    | IMPACT_PPM << 16
    | PENALTY_MIN_PPM << 96
    | PENALTY_MAX_PPM << 112
    | CUT_SHARE_PPM << 132
    | MIN_NOTIONAL_USDC << 152
    | REWARD_E6 << 176
    | AGE_S << 224
    | BAND_PPM << 240
)
MAY_LIQUIDATE, HALTED, FRESH = 4, 1 << 8, 1 << 69
MARGIN = MAY_LIQUIDATE | SPREAD_PPM << 92 | SCALE_USDC << 160
PRICE = e18(3_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the engine says of a position; in the order of IMarginEngine.Health."""

    equity: int
    maintenance: int
    own_maintenance: int
    size: int
    long: bool
    managed: bool
    ratio_ppm: int
    ceiling_ppm: int
    version: int
    stamp_ms: int
    price: int
    average: int
    mark: int
    margin: int
    rules: int
    skew: int
    settled: bool
    largest_market: int
    absent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A signed action, in the order of IRiskOracle.PositionAction."""

    observed_at: int
    valid_until: int
    position_id: int
    position_version: int
    kind: int
    maintenance_ppm: int = 0
    max_size: int = 2**128 - 1
    price_bound: int = 0
    model_hash: bytes = bytes(32)
    evidence_hash: bytes = bytes(32)


def position_id(market: int = MARKET, mode: int = ISOLATED, account: str = TRADER) -> int:
    """Name a position as the engine does."""
    return int(account, 16) << 24 | market << 8 | mode


def mark(observed_ms: int, flags: int = FRESH) -> int:
    """Pack PriceFeed.mark's word."""
    return observed_ms << 20 | flags


class Place:
    """The liquidator, and the double that plays engine, feed, oracle and pool."""

    def __init__(self, evm: Evm | None = None) -> None:
        self.evm = evm or new_evm()
        self.around = double(self.evm, "LiquidatorSurroundings", OWNER)
        address = self.around.address
        self.contract = Contract(self.evm, "Liquidator", OWNER, [address] * 4)
        self.contract.learn(self.around.abi)

    @property
    def now_s(self) -> int:
        """The time of the next block."""
        return self.evm.now_s

    @property
    def now_ms(self) -> int:
        """The time of the next block."""
        return self.evm.now_s * 1_000

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.evm.set_time(self.evm.now_s + seconds)

    def health(self, share: float = 0.9, **changes: Any) -> Health:
        """Make a long of ten at 3,000 USDC whose equity is a share of its maintenance margin."""
        size, price = changes.get("size", e18(10)), changes.get("price", PRICE)
        ratio = changes.get("ratio_ppm", 50_000)
        own = margin.maintenance_margin(size, price, ratio)
        asked = changes.get("maintenance", own)
        found = Health(
            equity=int(asked * share),
            maintenance=asked,
            own_maintenance=own,
            size=size,
            long=True,
            managed=True,
            ratio_ppm=ratio,
            ceiling_ppm=80_000,
            version=5,
            stamp_ms=self.now_ms - 100_000,
            price=price,
            average=price,
            mark=mark(self.now_ms - 1_000),
            margin=MARGIN,
            rules=RULES,
            skew=0,
            settled=False,
            largest_market=MARKET,
        )
        return replace(found, **changes)

    def put(self, health: Health, position: int | None = None) -> Health:
        """Let the engine answer so."""
        chosen = position_id() if position is None else position
        self.around.send(OWNER, "set_health", chosen, astuple(health))
        return health

    def stand(self, share: float = 0.9, mode: int = ISOLATED, **changes: Any) -> Health:
        """Make a position and let the engine answer so."""
        return self.put(self.health(share, **changes), position_id(mode=mode))

    def liquidate(self, mode: int = ISOLATED, market: int = MARKET) -> Receipt:
        """Liquidate by the formula, as a keeper."""
        return self.contract.send(KEEPER, "liquidate", TRADER, market, mode)

    def action(self, kind: int, **changes: Any) -> Action:
        """Sign something for the trader's position, observed before its price."""
        fields_of: dict[str, Any] = {
            "observed_at": self.now_ms - 2_000,
            "valid_until": self.now_ms + 60_000,
            "position_id": position_id(),
            "position_version": 5,
            "kind": kind,
        }
        return Action(**{**fields_of, **changes})

    def act(self, function: str, action: Action) -> Receipt:
        """Bring a signed action, as a keeper."""
        return self.contract.send(KEEPER, function, astuple(action), [])

    def pace(self, market: int = MARKET) -> int:
        """Read a market's window and note."""
        word: int = self.contract.read("pace", market)
        return word

    def version(self, position: int | None = None) -> int:
        """Read what the double holds."""
        answer = self.around.read("health", position_id() if position is None else position)
        found: int = answer[[item.name for item in fields(Health)].index("version")]
        return found

    @contextmanager
    def refuses(self, refusal: Refusal) -> Iterator[None]:
        """Expect this refusal, and that nothing changed."""
        before = (self.pace(), self.version())
        with pytest.raises(RefusedError) as caught:
            yield
        assert caught.value.refusal is refusal
        assert (self.pace(), self.version()) == before


def names(receipt: Receipt) -> list[str]:
    """List what happened, in order."""
    return [event.name for event in receipt.events]


def event(receipt: Receipt, name: str) -> Event:
    """Give the one event of a name."""
    (found,) = [item for item in receipt.events if item.name == name]
    return found


def closed(receipt: Receipt) -> int:
    """Give the size that the engine was told to close."""
    size: int = event(receipt, "Liquidate").fields["size"]
    assert int.from_bytes(receipt.output, "big") == size
    return size


def law_of(
    health: Health, target_ppm: int = margin.TARGET_PPM, penalty_ppm: int | None = None
) -> int:
    """Say how much the law in Python closes of a position."""
    trade = margin_price.TradeRules(
        fee_ppm=FEE_PPM, spread_ppm=SPREAD_PPM, impact_ppm=IMPACT_PPM, size_scale=SCALE_USDC * USDC
    )
    direction = -1 if health.long else 1
    cost = margin_price.close_cost_ppm(direction, health.size, health.price, health.skew, trade)
    penalty = penalty_of(health) if penalty_ppm is None else penalty_ppm
    deleverages = target_ppm == PPM
    return margin.partial_close_size(
        health.size,
        health.price,
        health.ceiling_ppm if deleverages else health.ratio_ppm,
        health.equity,
        margin.CloseRules(cost_ppm=cost, penalty_ppm=penalty, target_ppm=target_ppm),
        health.maintenance - health.own_maintenance,
    )


def penalty_of(health: Health) -> int:
    """Say at what penalty."""
    return margin_losses.penalty_ppm(
        health.equity, health.maintenance, PENALTY_MIN_PPM, PENALTY_MAX_PPM
    )


def worth(size: int, price: int = PRICE) -> int:
    """Say what a size is worth, rounded down."""
    return margin.notional_down(size, price)


def used(place: Place) -> int:
    """Read what of the window is used."""
    return place.pace() & (2**64 - 1)
