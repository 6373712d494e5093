"""What stands on the chain: endpoints, clock, code, digests, and what the senders can pay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from eth_abi.abi import encode

from agent.checks.findings import Finding, fault, warning, well
from agent.checks.here import Held
from agent.config import Settings
from agent.network import LOCAL, Network
from agent.owner.acts import FEED, ORACLE
from agent.owner.authority import Office
from contracts.artifacts import load
from contracts.envelope import Configuration
from contracts.fields import keccak256
from relayer.chain import rpc, views
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.margin import margin_contracts
from relayer.chain.reads import Question, ask
from relayer.chain.views import view
from relayer.errors import RelayerError

BOUNDS_HASH = view("bounds_hash()", "bytes32")
OLD_HEAD_S = 60  # a chain that is alive has a newer block
AHEAD_S = 2  # a block of the future: this machine's clock is behind
POOR_WEI = 10**15  # 0.001 of the chain's coin: some thousand rounds at 0.001 gwei, few at 1 gwei


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The file, and where it is held against the chain."""

    network: Network
    settings: Settings
    held: Held
    name: str  # as --network was given, for what mends

    @property
    def here(self) -> str:
        """Give the option that names this network in a command."""
        return f"--network {self.name}"


async def endpoint(place: Place, office: Office, now_ms: int) -> list[Finding]:
    """Look at the endpoint's chain, head and capability, and at this machine's clock."""
    opened, head_s = office.endpoint, office.state.timestamp_s
    findings = [well("endpoint", f"{opened.name}: chain {opened.chain_id}, {opened.sends_by}")]
    configured = place.settings.network.chain_id
    if configured not in (None, opened.chain_id):
        says = f"network.chain_id is {configured}, the endpoint's {opened.chain_id}"
        findings = [fault("endpoint", says, "correct [network] chain_id or rpc_url")]
    age_s = now_ms / 1_000 - head_s
    if place.network.name != LOCAL and age_s > OLD_HEAD_S:
        says = f"block {office.state.block_number} is {age_s:.0f} s old"
        findings.append(fault("endpoint", says, "take another rpc_url, or ask its operator"))
    if -age_s > AHEAD_S:
        says = f"this machine's clock is {-age_s:.0f} s behind the chain's newest block"
        findings.append(fault("clock", says, "timedatectl set-ntp true; chronyc tracking"))
    else:
        findings.append(well("clock", f"{age_s:.1f} s after the chain's newest block"))
    findings += [await _look(url, opened.chain_id, warning) for url in place.network.spare_rpc_urls]
    witnesses = place.settings.network.witness_rpc_urls
    return findings + [await _witness(url, office) for url in witnesses]


async def bare(place: Place) -> list[Finding]:
    """Look at each endpoint by itself, where it is not known which contracts to ask it for."""
    urls = (*place.network.rpc_urls, *place.settings.network.witness_rpc_urls)
    return [await _look(url, place.settings.network.chain_id, fault) for url in urls]


async def _look(
    url: str, chain_id: int | None, grave: Callable[[str, str, str], Finding]
) -> Finding:
    """Look at one endpoint by itself; `grave`: what it is where it cannot be used."""
    try:
        opened = await ChainEndpoint.open(url, chain_id=chain_id)
    except RelayerError as refused:
        mend = "correct [network] rpc_url, its spares or chain_id, or start the node"
        return grave("endpoint", str(refused), mend)
    await opened.close()
    return well("endpoint", f"{opened.name}: chain {opened.chain_id}, {opened.sends_by}")


async def _witness(url: str, office: Office) -> Finding:
    """Ask another endpoint for the same contract: one that lies is found before it is used."""
    try:
        other = await ChainEndpoint.open(url, chain_id=office.deployment.chain_id)
    except RelayerError as refused:
        return warning("endpoint", f"witness: {refused}", "correct network.witness_rpc_urls")
    try:
        asked = views.CONFIG_DIGEST.call(office.deployment.risk_oracle, "latest")
        theirs = views.CONFIG_DIGEST.read(await other.call(asked[0], *asked[1]))
    except RelayerError as refused:
        return warning("endpoint", f"witness {other.name}: {refused}", "aml check, once more")
    finally:
        await other.close()
    if theirs != office.state.oracle.config.config_digest:
        says = f"{other.name} has another config digest than {office.endpoint.name}"
        return fault("endpoint", says, "one of them lies or is stale: ask a third")
    return well("endpoint", f"witness {other.name} has the same configuration")


async def code(place: Place, office: Office) -> list[Finding]:
    """Compare the code of every contract with the package's."""
    contracts = {FEED: office.deployment.price_feed, ORACLE: office.deployment.risk_oracle}
    contracts |= margin_contracts(office.deployment)
    asked = [("eth_getCode", (address, "latest")) for address in contracts.values()]
    answers = await office.endpoint.batch(asked)
    findings = []
    for (name, address), answer in zip(contracts.items(), answers, strict=True):
        # Immutables stand behind the code that was compiled.
        if not rpc.data(answer).startswith(load(name).runtime_bytecode):
            says = f"{name} at {address}: its code is not this version's"
            mend = f"correct {place.network.deployment_file}, or use the version that deployed it"
            findings.append(fault("contracts", says, mend))
    return findings or [well("contracts", f"{len(contracts)} have this version's code")]


async def digests(office: Office) -> list[Finding]:
    """Work out each contract's configuration digest from its parts."""
    findings = []
    for name, address in (
        (FEED, office.deployment.price_feed),
        (ORACLE, office.deployment.risk_oracle),
    ):
        config = office.state.feed.config if name == FEED else office.state.oracle.config
        asked = [Question("bounds", BOUNDS_HASH, address)]
        block = await office.endpoint.block(office.state.block_number)
        found = await ask(office.endpoint, block, asked)
        if digest_of(config, found["bounds"], office.policies[name]) != config.config_digest:
            says = f"{name}: its config digest does not follow from signers, bounds and policy"
            findings.append(
                fault("contracts", says, "the endpoint's answers contradict: take another")
            )
    return findings or [well("contracts", "config digests follow from their parts")]


def digest_of(config: Configuration, bounds_hash: bytes, policy: bytes) -> bytes:
    """Make a configuration's digest as quorum.vy does."""
    kinds = ("uint256", "address[]", "uint256", "bytes32", "bytes32")
    parts = (config.config_count, list(config.signers), config.threshold, bounds_hash, policy)
    return keccak256(encode(kinds, parts))


async def balances(place: Place, office: Office) -> list[Finding]:
    """Look at what the senders can pay."""
    found: Mapping[str, str] = {
        field: place.held.addresses[field]
        for field in ("keys.gas_payer", "keys.guardian")
        if field in place.held.addresses
    }
    findings = []
    for field, address in found.items():
        wei = (await office.endpoint.account(address)).balance_wei
        says, mend = f"{field} ({address}) has {wei / 10**18:.6g}", f"send gas to {address}"
        if wei == 0:
            findings.append(fault("gas", says, mend))
        elif wei < POOR_WEI:
            findings.append(warning("gas", says, mend))
        else:
            findings.append(well("gas", says))
    return findings
