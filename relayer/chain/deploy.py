"""Puts the contracts on a chain from a plan, configures them, and launches them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from eth_abi.abi import encode

from contracts.artifacts import load
from contracts.book_words import encode_rules as encode_market_rules
from contracts.fields import checksummed
from contracts.packing import MarketParameters, pack_risk_word
from contracts.price_feed import ClassRules, encode_rules
from contracts.risk_bounds import ClassBounds, encode_bounds
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.margin import (
    CREATED,
    MarginPlan,
    Roles,
    margin_arguments,
    placed,
    test_token_bytecode,
)
from relayer.chain.values import DeployedMarket, Deployment, MarginContracts
from relayer.chain.views import view
from relayer.chain.wallet import Wallet
from relayer.delivery.fees import FeeRules
from relayer.errors import ChainRefused, Misconfigured
from relayer.signing.keys import Key

SET_CLASS: Final = view("set_class(uint256,uint256)")
ADD_PRICE_MARKET: Final = view("add_market(uint256,uint256)")
ADD_RISK_MARKET: Final = view("add_market(uint256,uint256,uint256)")
SET_RULES: Final = view("set_rules(uint256,uint256)")
SET_COOLDOWNS: Final = view("set_cooldowns(uint256,uint256,uint256)")
LAUNCH: Final = view("launch()")
PROPOSE_OWNER: Final = view("propose_owner(address)")
TRANCHES: Final = (1, 2)  # LiquidityPool: the pool, and the insurance that loses first
CONSTRUCTOR: Final = ("address", "address", "uint256", "address[]", "uint256", "bytes32")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPlan:
    """The limits that one class of markets starts with, in both contracts."""

    class_id: int
    rules: ClassRules
    bounds: ClassBounds


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPlan:
    """One market and the owner's first parameters for it (expired until a signed update)."""

    symbol: str
    class_id: int
    parameters: MarketParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPlan:
    """All that a deployment needs to be told; markets in the order of their ids."""

    owner: str
    guardian: str
    timelock_s: int
    price_signers: tuple[str, ...]
    price_threshold: int
    risk_signers: tuple[str, ...]
    risk_threshold: int
    policy_hash: bytes
    classes: tuple[ClassPlan, ...]
    markets: tuple[MarketPlan, ...]
    margin: MarginPlan | None = None  # None: the feed and the oracle alone

    def __post_init__(self) -> None:
        """Refuse a plan that the contracts would refuse half-way through."""
        for planned in self.classes:
            if fault := planned.rules.fault() or planned.bounds.fault():
                raise Misconfigured(f"class {planned.class_id}: {fault}")
        known = {planned.class_id for planned in self.classes}
        for index, market in enumerate(self.markets):
            if market.parameters.market != index:
                raise Misconfigured(f"market {market.symbol}: its id must be {index}")
            if market.class_id not in known:
                raise Misconfigured(
                    f"market {market.symbol}: class {market.class_id} has no limits"
                )
        if self.margin is not None and len(self.margin.rules) != len(self.markets):
            raise Misconfigured("margin: each market needs its rules")


class Deployer:
    """The account that deploys; owner until the plan's owner has accepted."""

    def __init__(self, endpoint: ChainEndpoint, key: Key, fees: FeeRules) -> None:
        self._endpoint = endpoint
        self._wallet = Wallet(endpoint, key, fees)
        self.created: list[tuple[str, str]] = []
        """Names and addresses of what stands on the chain so far."""

    async def deploy(
        self, plan: DeploymentPlan, progress: Callable[[str], None] = lambda _: None
    ) -> Deployment:
        """Deploy, configure and launch the contracts.

        Raises
        ------
        ChainRefused
            A transaction was refused or reverted; the message says which.
        """
        steps = _counted(plan, progress)
        steps("price feed")
        feed, first_block = await self._create("PriceFeed", plan, price=True)
        steps("risk oracle")
        oracle, _ = await self._create("RiskOracle", plan, price=False)
        for planned in plan.classes:
            steps(f"class {planned.class_id}")
            await self._wallet.tell(feed, SET_CLASS, planned.class_id, encode_rules(planned.rules))
            await self._wallet.tell(
                oracle, SET_CLASS, planned.class_id, encode_bounds(planned.bounds)
            )
        for index, market in enumerate(plan.markets):
            steps(f"market {market.symbol}")
            word = pack_risk_word(market.parameters)
            await self._wallet.tell(feed, ADD_PRICE_MARKET, index, market.class_id)
            await self._wallet.tell(oracle, ADD_RISK_MARKET, index, market.class_id, word)
        margin = None
        if plan.margin is not None:
            margin = await self._deploy_margin(plan, plan.margin, (feed, oracle), steps)
        steps("launch")
        for contract in (feed, oracle, *((margin.engine, margin.pool) if margin else ())):
            await self._wallet.tell(contract, LAUNCH)
            if checksummed(plan.owner) != self._wallet.address:
                await self._wallet.tell(contract, PROPOSE_OWNER, plan.owner)
        return Deployment(
            chain_id=self._endpoint.chain_id,
            price_feed=feed,
            risk_oracle=oracle,
            block_number=first_block,
            markets=tuple(
                DeployedMarket(market=m.parameters.market, symbol=m.symbol, class_id=m.class_id)
                for m in plan.markets
            ),
            margin=margin,
        )

    async def _deploy_margin(
        self,
        plan: DeploymentPlan,
        margin: MarginPlan,
        signed: tuple[str, str],
        progress: Callable[[str], None],
    ) -> MarginContracts:
        """Create the six contracts at the addresses that they were told of each other."""
        progress("margin contracts")
        token = margin.token
        if token is None:
            token, _ = await self._put("TestUSDC", test_token_bytecode())
        places = await self._wallet.next_places(len(CREATED))
        contracts = placed(checksummed(token), places)
        roles = Roles(
            owner=self._wallet.address, guardian=plan.guardian, timelock_s=plan.timelock_s
        )
        for name, place in zip(CREATED, places, strict=True):
            arguments = margin_arguments(name, contracts, signed, roles)
            at, _ = await self._put(name, load(name).bytecode + arguments)
            if at != place:
                raise ChainRefused(f"{name} stands at {at}, the others were told {place}")
        for market, rules in enumerate(margin.rules):
            await self._wallet.tell(contracts.engine, SET_RULES, market, encode_market_rules(rules))
        if (wait_s := margin.pool_cooldown_s) is not None:
            for tranche in TRANCHES:
                await self._wallet.tell(contracts.pool, SET_COOLDOWNS, tranche, wait_s, wait_s)
        return contracts

    async def _create(self, name: str, plan: DeploymentPlan, *, price: bool) -> tuple[str, int]:
        arguments = constructor_arguments(plan, owner=self._wallet.address, price=price)
        return await self._put(name, load(name).bytecode + arguments)

    async def _put(self, name: str, code: bytes) -> tuple[str, int]:
        at, block = await self._wallet.create(code, name)
        self.created.append((name, at))
        return at, block


def _counted(plan: DeploymentPlan, progress: Callable[[str], None]) -> Callable[[str], None]:
    """Say each step with its number: two contracts, limits, markets, margin, launch."""
    total = 3 + len(plan.classes) + len(plan.markets) + (plan.margin is not None)
    numbers = itertools.count(1)
    return lambda step: progress(f"{next(numbers)}/{total} {step}")


def constructor_arguments(plan: DeploymentPlan, *, owner: str, price: bool) -> bytes:
    """Encode the constructor arguments, as an explorer asks for to verify a deployment."""
    signers: Sequence[str] = plan.price_signers if price else plan.risk_signers
    threshold = plan.price_threshold if price else plan.risk_threshold
    values = (owner, plan.guardian, plan.timelock_s, signers, threshold, plan.policy_hash)
    return encode(CONSTRUCTOR, values)
