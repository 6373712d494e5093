"""The embedded signers: three in this process, each judging with a view that is not the agent's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agent.ports import Clock
from contracts.messages import PositionTerms, PriceRound, RiskUpdate
from contracts.price_feed import apply_round
from contracts.risk_oracle import apply_update
from contracts.units import seconds_floor
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import read_chain, read_feed
from relayer.chain.values import Deployment
from relayer.market.aggregate import AggregationRules, Mark, aggregate_round
from relayer.market.feeds import FeedRules, FeedWatch
from relayer.market.venues import VenuePool
from relayer.signing.quorum import Quorum
from relayer.signing.values import (
    NoQuorum,
    OwnMark,
    Proposal,
    SignedMessage,
    SignerView,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSources:
    """Where the signers look: their own endpoint connection, their own venue connections."""

    endpoint: ChainEndpoint
    deployment: Deployment
    pool: VenuePool
    clock: Clock
    rules: AggregationRules
    feeds: FeedRules


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
        if known is None or known[0] != proposal.digest:
            known = (proposal.digest, asyncio.create_task(self._look(proposal)))
            self._looking[kind] = known
        return await asyncio.shield(known[1])

    async def _look(self, proposal: Proposal) -> SignerView:
        """Read what the kind of message is judged by; nothing is taken from the proposal."""
        sources = self._sources
        if isinstance(proposal.message, RiskUpdate | PositionTerms):
            state = await read_chain(sources.endpoint, sources.deployment)
            now_ms = await sources.clock.now_ms()
            return SignerView(
                now_ms=now_ms,
                chain_id=state.chain_id,
                oracle=state.oracle,
                applied=apply_update(state.oracle, proposal.message, seconds_floor(now_ms))
                if isinstance(proposal.message, RiskUpdate)
                else None,
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


def own_mark(mark: Mark) -> OwnMark:
    """Give a mark as the signer's own."""
    return OwnMark(market=mark.market, price_e18=mark.price_e18, observed_at_ms=mark.observed_at_ms)


class Quorums:
    """The `Attestation` port: each kind of message goes to the signers of its contract."""

    def __init__(self, price: Quorum, risk: Quorum) -> None:
        self._price = price
        self._risk = risk

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        """Put a message before the signers of its contract."""
        price = isinstance(proposal.message, PriceRound)
        return await (self._price if price else self._risk).collect(proposal)

    async def close(self) -> None:
        """Wait for the slow ones."""
        await self._price.close()
        await self._risk.close()
