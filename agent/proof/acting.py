"""Fetches a signed action and its evidence: whether it reproduces, and why it was made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import Settings
from agent.network import Network
from agent.positions.cascade import CASCADE, chosen_again
from agent.proof.actions import decode_domain, verify_action
from agent.proof.explain import NAMES, Told
from agent.proof.verify import Difference, differing, plain, require_kind
from agent.proof.verifying import UNREADABLE, bundle_of, model_of
from contracts.book_words import PositionId, split_position_id
from contracts.messages import ActionKind, Domain, digest
from contracts.units import PPM, MarketId
from models.heads import HORIZONS_S
from relayer.chain import deployments
from relayer.chain.action_calls import PostedAction, action_in
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.values import Deployment
from relayer.evidence import EvidenceStore, check, unpack

E18 = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionReport:
    """One action as it stands on chain, and everything about it that does not hold."""

    posted: PostedAction
    broken: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def reproduces(self) -> bool:
        """Tell whether the action is the one that its evidence leads to."""
        return not self.broken and not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTold:
    """One action as it stands on chain, in words."""

    posted: PostedAction
    told: Told


async def verify_acted(
    network: Network, settings: Settings, what: str, evidence: Path
) -> ActionReport | None:
    """Verify the action that a transaction brought; None where `what` names none.

    Raises
    ------
    EvidenceError
        Its evidence is not there.
    """
    found = await _find(network, what)
    if found is None:
        return None
    posted, deployment = found
    store = EvidenceStore(evidence)
    bundle = bundle_of(store, posted.message.evidence_hash)
    broken = check(bundle, posted.message.evidence_hash)
    heads = model_of(posted.message.model_hash, settings).risks
    try:
        fields = unpack(bundle)
        differences = (
            *verify_action(fields, posted.message, heads),
            *verify_event(fields, posted, deployment),
        )
        foreseen, also = verify_cascade(fields, store)
        broken, differences = (*broken, *foreseen), (*differences, *also)
    except UNREADABLE as fault:
        if not broken:
            raise
        broken, differences = (*broken, f"(unreadable) {fault}"), ()
    return ActionReport(posted=posted, broken=broken, differences=differences)


def verify_event(
    fields: Mapping[str, Any], posted: PostedAction, deployment: Deployment
) -> Iterator[Difference]:
    """Compute what was signed again, and hold what the contract says it did against it.

    Chain and contract are the deployment's; only the configuration's digest is taken from the
    evidence, and a false one leads to another hash.
    """
    event, message = posted.event, posted.message
    recorded = decode_domain(fields["domain"])
    domain = Domain(
        chain_id=deployment.chain_id,
        contract=deployment.risk_oracle,
        config_digest=recorded.config_digest,
    )
    yield from differing("domain.chain_id", recorded.chain_id, domain.chain_id)
    yield from differing("domain.contract", recorded.contract, domain.contract)
    if event is None:  # its price was noted only, and no event has its hash
        return
    again = digest(message, domain).hex()
    yield from differing("event.message_hash", event.message_hash.hex(), again)
    yield from differing("event.kind", event.kind.name, message.kind.name)
    yield from differing("event.position", hex(event.position_id), hex(message.position_id))
    if event.size_e18 > message.max_size_e18:
        most = f"at most {message.max_size_e18}"
        yield Difference(field="event.size", recorded=str(event.size_e18), recomputed=most)
    if event.target_ppm > message.maintenance_ppm:
        most = f"at most {message.maintenance_ppm}"
        yield Difference(field="event.target", recorded=str(event.target_ppm), recomputed=most)


def verify_cascade(
    fields: Mapping[str, Any], store: EvidenceStore
) -> tuple[tuple[str, ...], tuple[Difference, ...]]:
    """Foresee again what a liquidation committed to; what is broken, and what differs."""
    if fields["intended"]["kind"] != ActionKind.LIQUIDATE.name.lower():
        return (), ()
    committed = fields["cascade"] or {"evidence": "", "said": ""}
    if not committed["evidence"]:
        absent = Difference(field="cascade", recorded="absent", recomputed="a simulation, or why")
        return (), () if committed["said"] else (absent,)
    name = bytes.fromhex(committed["evidence"])
    bundle = bundle_of(store, name)
    broken = tuple(f"cascade.{each}" for each in check(bundle, name))
    try:
        foreseen = unpack(bundle)
        require_kind(foreseen, CASCADE)
        again = plain(chosen_again(foreseen))
        return broken, tuple(differing("cascade", foreseen["cascade"], again))
    except UNREADABLE as fault:
        return (*broken, f"cascade.(unreadable) {fault}"), ()


async def explain_acted(network: Network, what: str, evidence: Path) -> ActionTold | None:
    """Explain the action that a transaction brought; None where `what` names none."""
    found = await _find(network, what)
    if found is None:
        return None
    posted, deployment = found
    symbols = {each.market: each.symbol for each in deployment.markets}
    fields = unpack(bundle_of(EvidenceStore(evidence), posted.message.evidence_hash))
    return ActionTold(posted=posted, told=told_of(fields, posted, symbols))


def told_of(
    fields: Mapping[str, Any], posted: PostedAction, symbols: Mapping[MarketId, str]
) -> Told:
    """Put an action's evidence into words."""
    account, market, _ = split_position_id(PositionId(posted.message.position_id))
    kind = posted.message.kind.name.lower()
    done = _done(posted)
    odds = fields["odds"]
    because = list(fields["intended"]["because"])
    if odds is not None:
        pairs = zip(HORIZONS_S, odds["probabilities"], strict=True)
        said = ", ".join(f"{chance:.1%} in {NAMES[horizon]}" for horizon, chance in pairs)
        because.append(f"chance of a liquidation by {odds['method'].replace('_', ' ')}: {said}")
    if fields.get("cascade"):
        because.append(f"what it would set off: {fields['cascade']['said'] or 'not simulated'}")
    source = fields["foresight_evidence"]
    if source:
        because.append(f"the forecast is that of the parameters whose evidence is {source}")
    return Told(
        symbol=symbols.get(market, str(market)),
        headline=f"{kind} of the position of 0x{account:040x}: {done}",
        because=tuple(because),
    )


def _done(posted: PostedAction) -> str:
    event = posted.event
    if event is None:
        return "its price was noted for a second round, nothing was closed"
    if event.size_e18:
        return f"{event.size_e18 / E18:,.6g} closed, at most {_size(posted)} was signed"
    return f"its ratio goes to {event.target_ppm / PPM:.2%}"


def _size(posted: PostedAction) -> str:
    return f"{posted.message.max_size_e18 / E18:,.6g}"


async def _find(network: Network, what: str) -> tuple[PostedAction, Deployment] | None:
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", what):
        return None
    deployment = deployments.read(network.deployment_file)
    endpoint = await ChainEndpoint.open(network.rpc_url, chain_id=deployment.chain_id)
    try:
        posted = await action_in(endpoint, deployment, bytes.fromhex(what[2:]))
    finally:
        await endpoint.close()
    return None if posted is None else (posted, deployment)
