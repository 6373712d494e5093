"""Reads the contracts' limits and compares their configuration with the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.config import Settings
from agent.deploying import plan_of
from agent.network import Network
from agent.proof.explain import moment
from agent.proof.limits import LiveLimits, live_limits
from agent.quoting.interface import limits_answer
from contracts.units import MarketId, UnixMs, UnixS, seconds_floor
from relayer.chain import deployments
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import read_chain
from relayer.http.schemas import Limits

DECIDED = " values: "
"""In a difference that decisions make: a market's values move, its limits must not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsReport:
    """What may be decided, and in what the chain differs from the file."""

    at: str
    symbols: Mapping[MarketId, str]
    limits: LiveLimits
    answer: Limits
    differences: tuple[str, ...]


async def read_limits(network: Network, settings: Settings) -> LimitsReport:
    """Read both contracts at one block; without a [deployment] table nothing is compared."""
    deployment = deployments.read(network.deployment_file)
    endpoint = await ChainEndpoint.open(network.rpc_url, chain_id=deployment.chain_id)
    try:
        state = await read_chain(endpoint, deployment)
        now_ms = UnixMs(await network.clock.now_ms())
        differing: tuple[str, ...] = ()
        if settings.deployment is not None:
            plan = plan_of(network, settings, settings.deployment)
            differing = await deployments.verify(endpoint, deployment, plan)
    finally:
        await endpoint.close()
        await network.clock.close()
    now_s = UnixS(max(state.timestamp_s, seconds_floor(now_ms)))
    limits = live_limits(state.oracle, now_s)
    symbols = {each.market: each.symbol for each in deployment.markets}
    return LimitsReport(
        at=moment(now_ms),
        symbols=symbols,
        limits=limits,
        answer=limits_answer(limits, symbols, (state.block_number, now_ms)),
        differences=tuple(each for each in differing if DECIDED not in each),
    )
