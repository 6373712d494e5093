"""Whom a change of parameters could touch: managed positions, as the index has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from agent.ground import Ground
from agent.impact import Exposure, NotSeen, Seen
from agent.ports import Clock, Hands
from agent.positions.loop import PositionLoop
from contracts.book_words import CROSS, PositionId, split_position_id
from contracts.units import MS_PER_S, MarketId, UnixS
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.index import Index, cross_identities
from relayer.chain.margin_book import readings_of
from relayer.chain.reads import read_chain
from relayer.chain.values import Deployment
from relayer.errors import HoldCycle, Retry
from relayer.held import HeldDecisions


class Following(Protocol):
    """Who keeps the index (`agent.positions.loop.PositionLoop`)."""

    async def followed(self) -> Index:
        """Bring the index to the chain's head."""
        ...


def with_budget(hands: Hands, ground: Ground, positions: PositionLoop | None) -> Hands:
    """Give a cycle's hands the books of positions, and the records of what waits for approval."""
    deployment = ground.deployment
    held = HeldDecisions(ground.database, deployment.chain_id, deployment.risk_oracle)
    if positions is None:
        return replace(hands, held=held)
    chain = (ground.endpoint, deployment)
    return replace(hands, held=held, exposures=IndexExposures(positions, chain, hands.clock))


class IndexExposures:
    """The `Exposures` port over the index of this process."""

    def __init__(
        self, following: Following, chain: tuple[ChainEndpoint, Deployment], clock: Clock
    ) -> None:
        self._following = following
        self._endpoint, self._deployment = chain
        self._clock = clock

    async def look(self, markets: Sequence[MarketId]) -> Seen:
        """Read whom a change in these markets may touch; a fault of the world is no exposure."""
        try:
            return await self._look(frozenset(markets))
        except (Retry, HoldCycle) as fault:
            return NotSeen(detail=f"the index of positions could not be read: {fault}")

    async def _look(self, markets: frozenset[MarketId]) -> Seen:
        index = await self._following.followed()
        number, _ = index.block
        # together with the index: nothing is awaited between the two lines below and their reading
        touched = index.managed_in(markets)
        book = index.holding((*touched, *_beside(index, touched)))
        state = await read_chain(self._endpoint, self._deployment, number)
        now_s = max(await self._clock.now_ms() // MS_PER_S, state.timestamp_s)
        return Exposure(book=book, readings=readings_of(state, UnixS(now_s)), block_number=number)


def _beside(index: Index, touched: Sequence[PositionId]) -> list[PositionId]:
    """Give every cross position of the accounts that are touched in cross mode."""
    names = (split_position_id(identity) for identity in touched)
    owners = {account for account, _, mode in names if mode == CROSS}
    return [each for owner in owners for each in cross_identities(owner, index.account(owner))]
