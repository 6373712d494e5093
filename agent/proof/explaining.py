"""Fetches a decision and its evidence, and has `agent.proof.explain` put them into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.network import Network
from agent.proof.explain import Told, explain_price, explain_risk
from agent.proof.verifying import bundle_of, posted_on
from contracts.messages import PriceRound
from contracts.refusals import Refusal
from contracts.risk_oracle import MarketState, decode_slot
from contracts.units import MarketId
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.events import PostedUpdate, posted_round
from relayer.chain.values import Deployment
from relayer.errors import EvidenceMissing
from relayer.evidence import EvidenceStore, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One decision as it stands on chain, and each market's part of it in words."""

    posted: PostedUpdate
    markets: tuple[Told, ...]


async def explain_posted(network: Network, what: str, *, price: bool, evidence: Path) -> Explained:
    """Explain one round or transaction.

    Raises
    ------
    ConfigError
        Nothing of that name was posted.
    EvidenceError
        Its evidence is not there.
    """
    async with posted_on(network, what, price=price) as (endpoint, deployment, posted):
        before = await _before(endpoint, deployment, posted)
    store = EvidenceStore(evidence)
    fields = unpack(bundle_of(store, posted.message.evidence_hash))
    symbols = {each.market: each.symbol for each in deployment.markets}
    if isinstance(posted.message, PriceRound):
        return Explained(posted=posted, markets=explain_price(fields, symbols))
    skipped = {each.market: Refusal(each.code) for each in posted.event.skipped}
    earlier = _kept(store, before)
    told = explain_risk(fields, earlier, states_of(fields), symbols, skipped)
    return Explained(posted=posted, markets=told)


async def _before(
    endpoint: ChainEndpoint, deployment: Deployment, posted: PostedUpdate
) -> PostedUpdate | None:
    """Find the risk update before one; after a gap in the rounds there is none to compare with."""
    message = posted.message
    if isinstance(message, PriceRound) or message.round < 2:
        return None
    return await posted_round(endpoint, deployment, "risk", message.round - 1)


def _kept(store: EvidenceStore, posted: PostedUpdate | None) -> Mapping[str, Any] | None:
    if posted is None:
        return None
    try:
        return store.get(posted.message.evidence_hash)
    except EvidenceMissing:
        return None


def states_of(fields: Mapping[str, Any]) -> dict[MarketId, MarketState]:
    """Read what the oracle held of each market when a decision was made."""
    slots = [decode_slot(int(word, 16)) for word in fields["chain"]["slots"]]
    return {MarketId(each): state for each, state in enumerate(slots) if state is not None}
