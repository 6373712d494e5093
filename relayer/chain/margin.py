"""The contracts that hold margin: what each is told of the others, and whether they were."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from eth_abi.abi import encode

from contracts.book_words import MarketRules, encode_rules
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import Question, ask
from relayer.chain.values import Deployment, MarginContracts
from relayer.chain.views import LAUNCHED, view

CREATED: Final = (
    "CollateralVault",
    "LiquidityPool",
    "MarginEngine",
    "OrderDesk",
    "Liquidator",
    "MarginViews",
)
"""In the order of their creation, from one account without anything between."""

# the test token of the local world: anybody may mint it
_TEST_TOKEN: Final = Path(__file__).parent.parent / "local" / "TestUSDC.json"
_RULES: Final = view("rules(uint256)", "uint256")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginPlan:
    """Which token is margin, and each market's rules in the order of the ids.

    `token` None deploys a test token, which is worthless: for the local network only.
    """

    token: str | None
    rules: tuple[MarketRules, ...]
    pool_cooldown_s: int | None = None  # None: the contract's own, a day and a week


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Who may do what in the contracts that have an owner."""

    owner: str
    guardian: str
    timelock_s: int


def placed(token: str, places: Sequence[str]) -> MarginContracts:
    """Name the contracts that will stand at these addresses, in the order of `CREATED`."""
    vault, pool, engine, desk, liquidator, views = places
    return MarginContracts(
        token=token,
        vault=vault,
        pool=pool,
        engine=engine,
        desk=desk,
        liquidator=liquidator,
        views=views,
    )


def margin_arguments(
    name: str, at: MarginContracts, signed: tuple[str, str], roles: Roles
) -> bytes:
    """Encode what a contract's constructor is told; `signed` are the feed and the oracle."""
    feed, oracle = signed
    authority = (roles.owner, roles.guardian, roles.timelock_s)
    told: Mapping[str, tuple[Any, ...]] = {
        "CollateralVault": (at.token, at.engine, at.pool),
        "LiquidityPool": (at.token, at.engine, at.views, at.vault, *authority),
        "MarginEngine": (feed, oracle, at.vault, at.pool, at.desk, at.liquidator, *authority),
        "OrderDesk": (at.engine, oracle),
        "Liquidator": (at.engine, feed, oracle, at.pool),
        "MarginViews": (at.engine, feed, oracle, at.pool, at.vault, at.token),
    }
    values = told[name]
    return encode(["uint256" if type(v) is int else "address" for v in values], values)


def margin_contracts(deployment: Deployment) -> dict[str, str]:
    """Give the addresses by the contracts' names; empty where none were deployed."""
    margin = deployment.margin
    if margin is None:
        return {}
    places = (margin.vault, margin.pool, margin.engine, margin.desk, margin.liquidator)
    return dict(zip(CREATED, (*places, margin.views), strict=True))


def test_token_bytecode() -> bytes:
    """Give the creation code of the test token."""
    return bytes.fromhex(json.loads(_TEST_TOKEN.read_text("utf-8"))["bytecode"])


async def differing_margin(
    endpoint: ChainEndpoint, deployment: Deployment, plan: MarginPlan | None, block: int
) -> tuple[str, ...]:
    """Read back what the margin contracts know of each other, their roles and their rules."""
    margin = deployment.margin
    if margin is None or plan is None:
        planned, found = plan is not None, margin is not None
        return () if planned == found else (f"margin: planned {planned}, found {found}",)
    wanted = {**_wired(deployment, margin), **_ruled(margin, plan)}
    answers = await ask(endpoint, await endpoint.block(block), list(wanted))
    return tuple(
        f"{question.name}: planned {value}, found {answers[question.name]}"
        for question, value in wanted.items()
        if answers[question.name] != value
    )


def _wired(deployment: Deployment, margin: MarginContracts) -> dict[Question, Any]:
    """Ask each contract for the addresses it was told."""
    places = {
        **asdict(margin),
        "feed": deployment.price_feed,
        "oracle": deployment.risk_oracle,
        "asset": margin.token,
    }
    told = {
        "vault": ("token", "engine", "pool"),
        "pool": ("asset", "engine", "views", "vault"),
        "engine": ("feed", "oracle", "vault", "pool", "desk", "liquidator"),
        "desk": ("engine", "oracle"),
        "liquidator": ("engine", "feed", "oracle", "pool"),
        "views": ("engine", "feed", "oracle", "pool", "vault", "token"),
    }
    return {
        Question(f"{holder} {name}", view(f"{name}()", "address"), places[holder]): places[name]
        for holder, names in told.items()
        for name in names
    }


def _ruled(margin: MarginContracts, plan: MarginPlan) -> dict[Question, Any]:
    """Ask the engine for each market's rules, and whether what has an owner is launched."""
    rules = {
        Question(f"market {market} rules", _RULES, margin.engine, (market,)): encode_rules(planned)
        for market, planned in enumerate(plan.rules)
    }
    launched = {
        Question(f"{name} launched", LAUNCHED, place): True
        for name, place in (("engine", margin.engine), ("pool", margin.pool))
    }
    return {**rules, **launched}
