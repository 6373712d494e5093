"""Fetches a decision and its evidence, and has `agent.proof.verify` compare them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import Settings
from agent.errors import ConfigError, EvidenceError
from agent.network import Network
from agent.proof.verify import Difference, differing, verify_price, verify_risk
from contracts.messages import Domain, PriceRound, digest
from models.artifact import LoadedModel, default_artifact, load
from relayer.chain import deployments
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.events import Kind, PostedUpdate, posted_in, posted_round
from relayer.chain.reads import read_chain
from relayer.chain.values import Deployment
from relayer.errors import EvidenceDamaged, EvidenceMissing, RelayerError
from relayer.evidence import EvidenceStore, check, unpack

# What reading a bundle may raise once its bytes are not those that were signed.
UNREADABLE = (RelayerError, EvidenceError, ValueError, TypeError, LookupError, ArithmeticError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One decision as it stands on chain, and everything about it that does not hold.

    `broken` names fields of the bundle whose bytes are not those that were signed; `differences`
    are computed again and come out otherwise.
    """

    posted: PostedUpdate
    broken: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def reproduces(self) -> bool:
        """Tell whether the decision is the one that its evidence leads to."""
        return not self.broken and not self.differences


async def verify_posted(
    network: Network, settings: Settings, what: str, *, price: bool, evidence: Path
) -> Report:
    """Verify one round or transaction.

    Raises
    ------
    ConfigError
        Nothing of that name was posted.
    EvidenceError
        Its evidence is not there.
    """
    async with posted_on(network, what, price=price) as (_, deployment, posted):
        pass
    store = EvidenceStore(evidence)
    bundle = bundle_of(store, posted.message.evidence_hash)
    broken = check(bundle, posted.message.evidence_hash)
    try:
        fields = unpack(bundle)
        differences = (
            *compare(fields, posted, settings, store),
            *verify_hash(fields, posted, deployment),
        )
    except UNREADABLE as fault:
        if not broken:
            raise
        broken = (*broken, f"(unreadable) {fault}")
        differences = ()
    return Report(posted=posted, broken=broken, differences=differences)


@asynccontextmanager
async def posted_on(
    network: Network, what: str, *, price: bool
) -> AsyncIterator[tuple[ChainEndpoint, Deployment, PostedUpdate]]:
    """Find a batch on a network's chain, and keep the endpoint open for what belongs to it."""
    deployment = deployments.read(network.deployment_file)
    endpoint = await ChainEndpoint.open(network.rpc_url, chain_id=deployment.chain_id)
    try:
        yield endpoint, deployment, await find_posted(endpoint, deployment, what, price=price)
    finally:
        await endpoint.close()


def bundle_of(store: EvidenceStore, evidence_hash: bytes) -> bytes:
    """Fetch evidence, unchecked.

    Raises
    ------
    EvidenceError
        It is not there.
    """
    try:
        return store.get_bundle(evidence_hash)
    except EvidenceMissing as fault:
        raise EvidenceError(f"{fault}; name another folder with --evidence") from fault


async def find_posted(
    endpoint: ChainEndpoint, deployment: Deployment, what: str, *, price: bool
) -> PostedUpdate:
    """Find a batch by its round's number or its transaction's hash."""
    if re.fullmatch(r"0x[0-9a-fA-F]{64}", what):
        found = await posted_in(endpoint, deployment, bytes.fromhex(what[2:]))
    elif what.isdecimal():
        kind: Kind = "price" if price else "risk"
        found = await posted_round(endpoint, deployment, kind, int(what))
    else:
        raise ConfigError(f"{what!r} is neither a round (12) nor a transaction (0x and 64 digits)")
    if found is None:
        state = await read_chain(endpoint, deployment)
        latest = state.feed.latest_round if price else state.oracle.latest_round
        raise ConfigError(f"nothing was posted as {what}; the latest round is {latest}")
    return found


def compare(
    fields: dict[str, Any], posted: PostedUpdate, settings: Settings, store: EvidenceStore
) -> tuple[Difference, ...]:
    """Recompute what the bundle leads to and compare it with what is on chain."""
    message = posted.message
    if isinstance(message, PriceRound):
        return verify_price(fields, message)
    model = model_of(message.model_hash, settings)

    def get_blob(name: bytes) -> bytes:
        try:
            return store.get_blob(name)
        except (EvidenceMissing, EvidenceDamaged) as fault:
            raise EvidenceError(f"history chunk {name.hex()}: {fault}") from fault

    return verify_risk(fields, message, model.scorer, get_blob)


def verify_hash(
    fields: Mapping[str, Any], posted: PostedUpdate, deployment: Deployment
) -> Iterator[Difference]:
    """Hash an update again as it was signed, and hold the contract's event against it.

    Chain and contract are the deployment's; only the configuration's digest is taken from the
    evidence, and a false one leads to another hash. A price's evidence is without that digest.
    """
    if isinstance(posted.message, PriceRound):
        return
    *place, config_digest = fields["chain"]["domain"]
    domain = Domain(
        chain_id=deployment.chain_id,
        contract=deployment.risk_oracle,
        config_digest=bytes.fromhex(config_digest),
    )
    yield from differing("chain.domain", place, [str(domain.chain_id), domain.contract])
    again = digest(posted.message, domain).hex()
    yield from differing("event.message_hash", posted.event.message_hash.hex(), again)


def model_of(model_hash: bytes, settings: Settings) -> LoadedModel:
    """Open the model that decided: the one in service, or one that is kept beside it."""
    served = settings.model.folder or default_artifact()
    places = (served.parent, settings.model.registry, default_artifact().parent)
    found = [place for place in places if (place / model_hash.hex()).exists()]
    if not found:
        raise ConfigError(
            f"the decision was made with model 0x{model_hash.hex()}, which is not in "
            f"{served.parent} or {settings.model.registry}; put its folder there"
        )
    return load(found[0] / model_hash.hex(), model_hash)
