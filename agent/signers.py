"""The embedded signers: three in this process, each judging with a view that is not the agent's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.own_impact import OwnBudget
from agent.ports import Clock
from agent.rederive import Derived, Outlook
from agent.world import limits_of
from contracts.envelope import Configuration
from contracts.messages import PositionAction, PriceRound, RiskUpdate
from contracts.price_feed import apply_round
from contracts.risk_oracle import apply_update
from contracts.units import seconds_floor
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.position_reading import read_position
from relayer.chain.reads import ChainState, read_chain, read_feed
from relayer.chain.values import Deployment
from relayer.market.aggregate import AggregationRules, Mark, aggregate_round
from relayer.market.feeds import FeedRules, FeedWatch
from relayer.market.venues import VenuePool
from relayer.signing.quorum import Quorum
from relayer.signing.values import (
    NoQuorum,
    OwnImpact,
    OwnMark,
    OwnPosition,
    Proposal,
    Signable,
    SignedMessage,
    SignerView,
)

ConfigurationReader = Callable[[str], Awaitable[Configuration]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSources:
    """Where the signers look: their own endpoint connection, their own venue connections."""

    endpoint: ChainEndpoint
    deployment: Deployment
    pool: VenuePool
    clock: Clock
    rules: AggregationRules
    feeds: FeedRules
    outlook: Outlook | None = None  # None: the signers decide nothing themselves
    budget: OwnBudget | None = None  # None: they do not count what open positions are asked


class EmbeddedViews:
    """One look at clock, chain and venues a proposal, shared by the signers of this process."""

    def __init__(self, sources: ViewSources) -> None:
        self._sources = sources
        self._feeds = FeedWatch(rules=sources.feeds)
        self._looking: dict[type, tuple[bytes, asyncio.Task[SignerView]]] = {}

    async def view(self, proposal: Proposal) -> SignerView:
        """Look, or wait for the look that another signer of this process began."""
        kind = type(proposal.message)
        known = self._looking.get(kind)
        # Only a look that is still under way is shared: what is asked later is seen anew.
        if known is None or known[0] != proposal.digest or known[1].done():
            known = (proposal.digest, asyncio.create_task(self._look(proposal)))
            self._looking[kind] = known
        return await asyncio.shield(known[1])

    async def _look(self, proposal: Proposal) -> SignerView:
        """Read what the kind of message is judged by; nothing is taken from the proposal."""
        sources = self._sources
        if not isinstance(proposal.message, PriceRound):
            state = await read_chain(sources.endpoint, sources.deployment)
            derived, impact = await asyncio.gather(
                self._derived(proposal.message, state), self._impact(proposal.message, state)
            )
            now_ms = await sources.clock.now_ms()
            return SignerView(
                now_ms=now_ms,
                chain_id=state.chain_id,
                oracle=state.oracle,
                derived=None if derived is None else derived.loosest,
                underived={} if derived is None else derived.unknown,
                underived_else="" if derived is None else derived.otherwise,
                applied=apply_update(state.oracle, proposal.message, seconds_floor(now_ms))
                if isinstance(proposal.message, RiskUpdate)
                else None,
                position=await self._position(proposal.message),
                impact=impact,
            )
        reading, quotes = await asyncio.gather(
            read_feed(sources.endpoint, sources.deployment), sources.pool.quotes()
        )
        quotes, self._feeds = self._feeds.believed(quotes)
        now_ms = await sources.clock.now_ms()
        ids = [market.market for market in sources.pool.markets]
        marks = aggregate_round(quotes, ids, now_ms, sources.rules)
        own = {m: own_mark(mark) for m, mark in marks.items() if isinstance(mark, Mark)}
        return SignerView(
            now_ms=now_ms,
            chain_id=sources.endpoint.chain_id,
            feed=reading.feed,
            marks=own,
            applied=apply_round(reading.feed, proposal.message, seconds_floor(now_ms)),
        )

    async def _derived(self, message: Signable, state: ChainState) -> Derived | None:
        """Decide for ourselves what an update may be at most; None for all else."""
        outlook = self._sources.outlook
        if outlook is None or not isinstance(message, RiskUpdate):
            return None
        limits = limits_of(self._sources.deployment, state)
        return await outlook.derived(message, limits, await self._sources.clock.now_ms())

    async def _impact(self, message: Signable, state: ChainState) -> OwnImpact | None:
        """Count what an update asks of open positions; None for all else, or if nobody counts."""
        budget = self._sources.budget
        if budget is None or not isinstance(message, RiskUpdate):
            return None
        limits = limits_of(self._sources.deployment, state)
        return await budget.counted(message, limits, await self._sources.clock.now_ms())

    async def _position(self, message: Signable) -> OwnPosition | None:
        """Read the position that an action is about, at the own endpoint."""
        sources = self._sources
        if not isinstance(message, PositionAction) or sources.deployment.margin is None:
            return None
        held = await read_position(sources.endpoint, sources.deployment, message.position_id)
        return OwnPosition(
            size_e18=held["size"],
            long=held["side"] > 0,
            managed=held["managed"],
            equity_e6=held["equity"],
            maintenance_e6=held["maintenance"],
            own_maintenance_e6=held["own_maintenance"],
            ratio_ppm=held["ratio_ppm"],
            ceiling_ppm=held["ceiling_ppm"],
            version=held["version"],
            price_e18=held["price"],
        )


def own_mark(mark: Mark) -> OwnMark:
    """Give a mark as the signer's own."""
    return OwnMark(market=mark.market, price_e18=mark.price_e18, observed_at_ms=mark.observed_at_ms)


class Quorums:
    """The `Attestation` port: each kind of message goes to the signers of its contract.

    When a contract's configuration changes, so does its digest, and with it every message: then the
    new signers and their threshold are read, and the next message goes to them.
    """

    def __init__(self, price: Quorum, risk: Quorum, read: ConfigurationReader) -> None:
        self._price = price
        self._risk = risk
        self._read = read
        self._followed: dict[str, bytes] = {}

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Put a message before the signers of its contract."""
        quorum = self._price if isinstance(proposal.message, PriceRound) else self._risk
        domain = proposal.domain
        if self._followed.get(domain.contract) != domain.config_digest:
            config = await self._read(domain.contract)
            quorum.follow(config.threshold, config.signers)
            self._followed[domain.contract] = config.config_digest
        return await quorum.collect(proposal)

    async def close(self) -> None:
        """Wait for the slow ones."""
        await self._price.close()
        await self._risk.close()
