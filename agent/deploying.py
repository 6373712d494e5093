"""What `aml deploy` puts on a chain, from the configuration, and whether it stands there."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Literal

from agent.config import ClassSettings, DeploymentSettings, Settings, too_few
from agent.errors import ConfigError
from agent.files import write_whole
from agent.network import LOCAL, Network, local_role
from contracts import artifacts
from contracts.fields import checksummed
from contracts.packing import MarketParameters, round_down_amount
from contracts.price_feed import decode_rules, encode_rules
from contracts.risk_bounds import decode_bounds, encode_bounds
from contracts.units import LeverageE2, Ppm, WholeUsdc, maintenance_from_cap
from relayer.chain import deployments, rpc
from relayer.chain.deploy import ClassPlan, Deployer, DeploymentPlan, MarketPlan
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.margin import MarginPlan
from relayer.chain.values import Deployment
from relayer.errors import RelayerError
from relayer.market.values import Market
from relayer.signing.keys import Key
from relayer.signing.keys_source import open_key


async def deploy_network(
    network: Network, settings: Settings, progress: Callable[[str], None]
) -> Deployment:
    """Deploy the contracts, read everything back, and write the deployment file.

    Raises
    ------
    ConfigError
        When the configuration has no [deployment], or what stands on the chain is not as planned.
    """
    if settings.deployment is None:
        raise ConfigError("[deployment]: is required to deploy; see config/local.toml")
    plan = plan_of(network, settings, settings.deployment)
    require_quorums(plan)
    endpoint = await ChainEndpoint.open(network.rpc_url, chain_id=network.chain_id)
    try:
        await require_token(endpoint, plan)
        deployer = Deployer(endpoint, deployer_key(network, settings), settings.fees)
        deployment, differing = await _deployed(deployer, endpoint, plan, progress)
    finally:
        await endpoint.close()
    if differing:
        raise ConfigError("the contracts are not as planned: " + "; ".join(differing))
    write_standard_json(network)
    deployments.write(deployment, network.deployment_file)  # last: with it, a deployment counts
    return deployment


async def _deployed(
    deployer: Deployer,
    endpoint: ChainEndpoint,
    plan: DeploymentPlan,
    progress: Callable[[str], None],
) -> tuple[Deployment, tuple[str, ...]]:
    """Deploy and read back; ended on the way, say what stands on the chain and what to do."""
    try:
        deployment = await deployer.deploy(plan, lambda step: progress(f"deploying {step}"))
        return deployment, await deployments.verify(endpoint, deployment, plan)
    except (asyncio.CancelledError, RelayerError):
        stands = ", ".join(f"{name} {at}" for name, at in deployer.created) or "none of ours"
        progress(f"not finished; on the chain stand: {stands}")
        progress(
            "nothing uses them, since no deployment file names them; deploy again with the same "
            "command: it begins anew, and these stay unused"
        )
        raise


def require_quorums(plan: DeploymentPlan) -> None:
    """Refuse thresholds that the signers cannot reach, before anything is paid for.

    Raises
    ------
    ConfigError
        When there are fewer signers of a kind than have to sign.
    """
    quorums = {
        "price": (plan.price_signers, plan.price_threshold),
        "risk": (plan.risk_signers, plan.risk_threshold),
    }
    for kind, (signers, threshold) in quorums.items():
        if len(signers) < threshold:
            said = too_few(kind, threshold, len(signers))
            raise ConfigError(f"deployment.{kind}_threshold: {said}")


async def require_token(endpoint: ChainEndpoint, plan: DeploymentPlan) -> None:
    """Refuse a token that is no contract, before anything is paid for.

    Raises
    ------
    ConfigError
        When nothing stands at the address.
    """
    token = None if plan.margin is None else plan.margin.token
    if token is None:
        return  # none is needed, or one of our own is deployed first
    if not rpc.data(await endpoint.call("eth_getCode", token, "latest")):
        raise ConfigError(
            f"deployment.token: no contract stands at {token}; name the chain's USDC (6 decimals)"
        )


def plan_of(network: Network, settings: Settings, wanted: DeploymentSettings) -> DeploymentPlan:
    """Turn the configuration into a deployment plan."""
    return DeploymentPlan(
        owner=owner_address(network, settings),
        guardian=guardian_address(network, settings),
        timelock_s=wanted.timelock_s,
        price_signers=signers_of("price", network, settings),
        price_threshold=wanted.price_threshold,
        risk_signers=signers_of("risk", network, settings),
        risk_threshold=wanted.risk_threshold,
        policy_hash=policy_hash(settings),
        classes=tuple(
            class_plan(int(number), each) for number, each in sorted(wanted.classes.items())
        ),
        markets=tuple(first_values(market, wanted) for market in network.markets),
        margin=margin_plan(network, wanted),
    )


def margin_plan(network: Network, wanted: DeploymentSettings) -> MarginPlan | None:
    """Plan the margin contracts; None where no class has rules for them.

    Raises
    ------
    ConfigError
        When some classes in use have [deployment.classes.N.margin] and others do not, or when no
        token is named off the local network.
    """
    used = sorted({market.class_id for market in network.markets})
    rules = {number: wanted.classes[str(number)].margin for number in used}
    missing = [number for number, margin in rules.items() if margin is None]
    if len(missing) == len(rules):
        return None
    if missing:
        raise ConfigError(f"[deployment.classes.{missing[0]}.margin]: is missing; others have it")
    if wanted.token is None and network.name != LOCAL:
        raise ConfigError("deployment.token: is required; the address of USDC on this chain")
    by_market = tuple(rules[market.class_id] for market in network.markets)
    return MarginPlan(token=wanted.token, rules=by_market, pool_cooldown_s=wanted.pool_cooldown_s)


def class_plan(class_id: int, settings: ClassSettings) -> ClassPlan:
    """Give a class's limits as the contracts can hold them: rounded down to the words' units."""
    return ClassPlan(
        class_id=class_id,
        rules=decode_rules(encode_rules(settings.rules)),
        bounds=decode_bounds(encode_bounds(settings.bounds)),
    )


def signers_of(
    kind: Literal["price", "risk"], network: Network, settings: Settings
) -> tuple[str, ...]:
    """Give the signers' addresses in the order that the contracts keep them in.

    Where signers are processes of their own, nobody but they has their keys: the peers' addresses
    count. Else the addresses are of the keys in this process.

    Raises
    ------
    ConfigError
        When a peer says no address for this kind.
    """
    if settings.signers is None:
        keys = network.keys.price_signers if kind == "price" else network.keys.risk_signers
        found = [key.address for key in keys]
    else:
        named = [getattr(peer, kind) for peer in settings.signers.peers]
        if network.name == LOCAL:  # the local chain's own keys sign where none is named
            roles = (f"{kind}-signer-{number}" for number in range(1, len(named) + 1))
            pairs = zip(named, roles, strict=True)
            named = [address or local_role(role).address for address, role in pairs]
        if None in named:
            place = f"signers.peers[{named.index(None)}].{kind}"
            raise ConfigError(f"{place}: is required to deploy; the address of that signer's key")
        found = [checksummed(address) for address in named]
    return tuple(sorted(found, key=lambda address: int(address, 16)))


def first_values(market: Market, wanted: DeploymentSettings) -> MarketPlan:
    """Give the owner's first values of a market, by its class."""
    settings = wanted.classes.get(str(market.class_id))
    if settings is None:
        raise ConfigError(f"market {market.symbol}: no [deployment.classes.{market.class_id}]")
    first = settings.first
    cap = LeverageE2(first.cap_e2)
    return MarketPlan(
        symbol=market.symbol,
        class_id=market.class_id,
        parameters=MarketParameters(
            market=market.market,
            cap_e2=cap,
            maintenance_ppm=maintenance_from_cap(cap),
            open_interest_cap_usdc=round_down_amount(WholeUsdc(first.open_interest_cap_usdc)),
            size_scale_usdc=round_down_amount(WholeUsdc(first.size_scale_usdc)),
            spread_ppm=Ppm(first.spread_ppm),
            reduce_only=False,
            ramp_s=0,
        ),
    )


def policy_hash(settings: Settings) -> bytes:
    """Hash the rules by which decisions are made; every signed message dies with them."""
    canonical = json.dumps(settings.rules.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).digest()


def deployer_key(network: Network, settings: Settings) -> Key:
    """Give the key that deploys and owns until the plan's owner has accepted."""
    if network.name == LOCAL:
        return local_role("owner")
    if settings.keys is None or settings.keys.deployer is None:
        raise ConfigError("keys.deployer: is required to deploy")
    return open_key(settings.keys.deployer, settings.keys.password_file)


def owner_address(network: Network, settings: Settings) -> str:
    """Give the owner; off the local network it is an address, usually a Safe."""
    if network.name == LOCAL:
        return local_role("owner").address
    if settings.deployment is None or settings.deployment.owner is None:
        raise ConfigError("deployment.owner: is required; use the address of a Safe")
    return settings.deployment.owner


def guardian_address(network: Network, settings: Settings) -> str:
    """Give the guardian."""
    if network.name == LOCAL:
        return local_role("guardian").address
    if settings.deployment is None or settings.deployment.guardian is None:
        raise ConfigError("deployment.guardian: is required")
    return settings.deployment.guardian


def write_standard_json(network: Network) -> None:
    """Write the compiler's standard JSON beside the deployment, for an explorer's verification."""
    network.state.mkdir(parents=True, exist_ok=True)
    for name in artifacts.DEPLOYED:
        path = network.state / f"{name}.standard.json"
        write_whole(path, json.dumps(artifacts.standard_json(name), indent=1) + "\n")
