"""The deployment file, and whether what stands on the chain is what the plan said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.artifacts import load
from contracts.fields import address_fault, checksummed
from contracts.packing import pack_risk_word, split_risk_word
from contracts.risk_bounds import values_of
from relayer.chain import rpc, views
from relayer.chain.deploy import DeploymentPlan
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.margin import differing_margin, margin_contracts
from relayer.chain.reads import Answers, ChainState, Question, ask, read_chain
from relayer.chain.values import DeployedMarket, Deployment, MarginContracts
from relayer.errors import Misconfigured


def write(deployment: Deployment, path: Path) -> None:
    """Write a deployment file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    temporary.write_text(json.dumps(asdict(deployment), indent=2) + "\n", "utf-8")
    temporary.chmod(0o644)  # public, and written by root for units that run as other users
    temporary.replace(path)


def read(path: Path) -> Deployment:
    """Read a deployment file.

    Raises
    ------
    Misconfigured
        It is missing or not one; the message names the file and what is wrong.
    """
    try:
        fields = json.loads(path.read_text("utf-8"))
        if not isinstance(fields, dict):
            raise Misconfigured(f"deployment file {path}: is not a JSON object")
        markets = tuple(DeployedMarket(**market) for market in fields.pop("markets"))
        margin = fields.pop("margin", None)
        contracts = None if margin is None else MarginContracts(**margin)
        deployment = Deployment(markets=markets, margin=contracts, **fields)
    except FileNotFoundError:
        raise Misconfigured(f"deployment file {path}: missing; `aml deploy` writes it") from None
    except KeyError as exc:
        raise Misconfigured(f"deployment file {path}: has no {exc}") from exc
    except (OSError, ValueError, TypeError, AttributeError) as exc:
        raise Misconfigured(f"deployment file {path}: {exc}") from exc
    addresses = {"price_feed": deployment.price_feed, "risk_oracle": deployment.risk_oracle}
    addresses |= asdict(deployment.margin) if deployment.margin else {}
    for name, address in addresses.items():
        if fault := address_fault(address):
            raise Misconfigured(f"deployment file {path}: {name} {fault}")
    return deployment


async def verify(
    endpoint: ChainEndpoint, deployment: Deployment, plan: DeploymentPlan
) -> tuple[str, ...]:
    """Read everything back and say, field by field, what is not as planned; nothing: all is.

    Compares code, roles, signers, limits, markets and their first values, and that both contracts
    are launched. The owner may still be the deployer, with the plan's owner proposed.
    """
    state = await read_chain(endpoint, deployment)
    found = await _roles(endpoint, deployment, state)
    differing = [*_differing_roles(found, plan), *_differing_state(state, plan)]
    differing += await differing_margin(endpoint, deployment, plan.margin, state.block_number)
    for name, contract in (_contracts(deployment) | margin_contracts(deployment)).items():
        code = rpc.data(await endpoint.call("eth_getCode", contract, "latest"))
        # Immutables stand behind the code that was compiled.
        if not code.startswith(load(name).runtime_bytecode):
            differing.append(f"{name} code: not the package's")
    return tuple(differing)


def _contracts(deployment: Deployment) -> dict[str, str]:
    return {"PriceFeed": deployment.price_feed, "RiskOracle": deployment.risk_oracle}


_ROLES = {
    "owner": views.OWNER,
    "pending_owner": views.PENDING_OWNER,
    "guardian": views.GUARDIAN,
    "launched": views.LAUNCHED,
    "timelock_s": views.TIMELOCK_S,
    "policy_hash": views.POLICY_HASH,
}


async def _roles(endpoint: ChainEndpoint, deployment: Deployment, state: ChainState) -> Answers:
    questions = [
        Question(f"{name} {field}", view, contract)
        for name, contract in _contracts(deployment).items()
        for field, view in _ROLES.items()
    ]
    return await ask(endpoint, await endpoint.block(state.block_number), questions)


def _differing_roles(found: Answers, plan: DeploymentPlan) -> Iterator[str]:
    planned = {
        "guardian": checksummed(plan.guardian),
        "launched": True,
        "timelock_s": plan.timelock_s,
        "policy_hash": plan.policy_hash,
    }
    for name in ("PriceFeed", "RiskOracle"):
        owners = (found[f"{name} owner"], found[f"{name} pending_owner"])
        if checksummed(plan.owner) not in owners:
            yield f"{name} owner: planned {plan.owner}, found {owners[0]}"
        for field, value in planned.items():
            yield from _difference(f"{name} {field}", value, found[f"{name} {field}"])


def _differing_state(state: ChainState, plan: DeploymentPlan) -> Iterator[str]:
    feed, oracle = state.feed, state.oracle
    signers = {"PriceFeed": plan.price_signers, "RiskOracle": plan.risk_signers}
    thresholds = {"PriceFeed": plan.price_threshold, "RiskOracle": plan.risk_threshold}
    for name, config in (("PriceFeed", feed.config), ("RiskOracle", oracle.config)):
        planned = tuple(checksummed(signer) for signer in signers[name])
        yield from _difference(f"{name} signers", planned, config.signers)
        yield from _difference(f"{name} threshold", thresholds[name], config.threshold)
    used = {market.class_id for market in plan.markets}
    for limits in (item for item in plan.classes if item.class_id in used):
        number = limits.class_id
        yield from _difference(f"class {number} rules", limits.rules, feed.rules.get(number))
        yield from _difference(f"class {number} bounds", limits.bounds, oracle.bounds.get(number))
    classes = tuple(market.class_id for market in plan.markets)
    yield from _difference("PriceFeed markets", classes, tuple(m.class_id for m in feed.markets))
    yield from _difference("RiskOracle markets", classes, tuple(m.class_id for m in oracle.markets))
    for market, slot in zip(plan.markets, oracle.markets, strict=False):
        values = values_of(split_risk_word(pack_risk_word(market.parameters)))
        yield from _difference(f"{market.symbol} values", values, slot.values)


def _difference(name: str, planned: Any, found: Any) -> Iterator[str]:  # noqa: ANN401 -- any values
    if planned != found:
        yield f"{name}: planned {planned}, found {found}"
