"""What the contracts hold now, market by market, in an operator's words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from agent.network import Network
from contracts.halts import Controls, MarketGuard, Permissions
from contracts.price_feed import ClassRules, FeedState, MarketPrice, may_carry_new_risk
from contracts.risk_oracle import (
    MarketState,
    OracleState,
    effective_maintenance_ppm,
    permissions,
    values_for_new_risk,
)
from contracts.units import UnixS
from relayer.chain import deployments
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import ChainState, read_chain
from relayer.chain.values import Deployment

E18 = 10**18


PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketStanding:
    """One market as the contracts hold it at a block."""

    symbol: str
    price_e18: int
    price_age_s: int | None  # None: there never was a price
    confidence_ppm: int
    cap_e2: int
    maintenance_ppm: int
    open_interest_cap_usdc: int
    expires_in_s: int | None  # None: nothing was ever signed
    opens: bool
    why_not: str
    not_since_s: UnixS | None = None  # where the contract says since when
    until_s: UnixS | None = None  # where what stops it ends by itself

    def row(self) -> tuple[str, ...]:
        """Write the market as a row of a table."""
        price = f"{self.price_e18 / E18:.6g}" if self.price_e18 else "none"
        return (
            self.symbol,
            price,
            "-" if self.price_age_s is None else str(self.price_age_s),
            str(self.confidence_ppm),
            f"{self.cap_e2 / 100:.2f}x",
            f"{self.maintenance_ppm / 10_000:.3f}%",
            f"{self.open_interest_cap_usdc:,}",
            left(self.expires_in_s),
            "open" if self.opens else self.why_not,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Both contracts at one block."""

    chain_id: int
    block_number: int
    at: str
    now_s: UnixS
    price_feed: str
    risk_oracle: str
    feed_round: int
    oracle_round: int
    markets: tuple[MarketStanding, ...]


async def read_standing(network: Network) -> Standing:
    """Read both contracts at one block; `now` is the network's clock."""
    deployment = deployments.read(network.deployment_file)
    endpoint = await ChainEndpoint.open(network.rpc_url, chain_id=deployment.chain_id)
    try:
        state = await read_chain(endpoint, deployment)
        now_s = UnixS(await network.clock.now_ms() // 1_000)
    finally:
        await endpoint.close()
        await network.clock.close()
    return standing_of(deployment, state, now_s)


def standing_of(deployment: Deployment, state: ChainState, now_s: UnixS) -> Standing:
    """Put what was read into words."""
    return Standing(
        chain_id=state.chain_id,
        block_number=state.block_number,
        now_s=now_s,
        at=datetime.fromtimestamp(now_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        price_feed=deployment.price_feed,
        risk_oracle=deployment.risk_oracle,
        feed_round=state.feed.latest_round,
        oracle_round=state.oracle.latest_round,
        markets=tuple(
            market_standing(market.symbol, market.market, (state.feed, state.oracle), now_s)
            for market in deployment.markets
        ),
    )


def market_standing(
    symbol: str, market: int, contracts: tuple[FeedState, OracleState], now_s: UnixS
) -> MarketStanding:
    """Put one market into words."""
    feed, oracle = contracts
    price, state, guard = feed.markets[market], oracle.markets[market], oracle.guards[market]
    granted = permissions(state, guard, oracle.controls, now_s)
    values = values_for_new_risk(state, guard, now_s)
    priced = may_carry_new_risk(price, feed.rules[price.class_id], now_s)
    return MarketStanding(
        symbol=symbol,
        price_e18=price.price_e18,
        price_age_s=now_s - price.observed_at_ms // 1_000 if price.has_price else None,
        confidence_ppm=price.confidence_ppm,
        cap_e2=values.cap_e2,
        maintenance_ppm=effective_maintenance_ppm(state, now_s, oracle.controls),
        open_interest_cap_usdc=values.open_interest_cap_usdc,
        expires_in_s=state.valid_until_ms // 1_000 - now_s if state.ever_signed else None,
        opens=bool(granted & Permissions.OPEN) and priced,
        why_not=reason(price, expired=state.expired(now_s), priced=priced),
        not_since_s=since(price, feed.rules[price.class_id], state, now_s, priced=priced),
        until_s=stopped_until(oracle.controls, guard, now_s),
    )


def left(seconds: int | None) -> str:
    """Write how long signed values are still valid, or how long no more."""
    if seconds is None:
        return "none yet"
    return str(seconds) if seconds >= 0 else f"{-seconds} ago"


def since(
    price: MarketPrice, rules: ClassRules, state: MarketState, now_s: UnixS, *, priced: bool
) -> UnixS | None:
    """Give since when a market takes no new risk, where its price or its parameters are too old."""
    if not price.has_price or price.unconfirmed:
        return None
    if not priced:
        return UnixS((price.observed_at_ms + rules.new_risk_age_ms) // 1_000)
    ended = state.ever_signed and state.expired(now_s)
    return UnixS(state.valid_until_ms // 1_000) if ended else None


def stopped_until(controls: Controls, guard: MarketGuard, now_s: UnixS) -> UnixS | None:
    """Give when the last pause or limit ends that keeps a market from opening; None without one."""
    untils = (
        controls.new_risk_until_s,
        controls.ai_input_until_s,
        controls.withdrawals_until_s,
        controls.liquidation_until_s,
        controls.everything_until_s,
        guard.pause_until_s,
        guard.limit_until_s if guard.limit_reduce_only else UnixS(0),
    )
    return max((until for until in untils if until > now_s), default=None)


def reason(price: MarketPrice, *, expired: bool, priced: bool) -> str:
    """Say in one word what keeps a market from taking new risk."""
    if not price.has_price:
        return "no price"
    if price.unconfirmed:
        return "unconfirmed"
    if not priced:
        return "stale price"
    return "expired" if expired else PAUSED
