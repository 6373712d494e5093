"""What a deployment is, and what a contract says it left out: values, no chain in sight."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.units import MarketId


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedMarket:
    """One market as it was added to both contracts."""

    market: MarketId
    symbol: str
    class_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginContracts:
    """Where the contracts that hold margin stand, and the token that they hold."""

    token: str
    vault: str
    pool: str
    engine: str
    desk: str
    liquidator: str
    views: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where the contracts stand; addresses in EIP-55 case, `block_number` is where events begin.

    `margin` is None where only the feed and the oracle were deployed.
    """

    chain_id: int
    price_feed: str
    risk_oracle: str
    block_number: int
    markets: tuple[DeployedMarket, ...]
    margin: MarginContracts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedItem:
    """An item of a batch that the contract left out, with its refusal's number and name."""

    market: MarketId
    code: int
    reason: str
