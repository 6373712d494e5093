"""Who owns and guards the contracts, what is announced, and what a call would meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.network import Network
from agent.owner.acts import ENGINE, Owned
from agent.owner.steps import Authority, waits
from contracts.calls import NamedCall
from contracts.units import MarketId, UnixS
from relayer.chain import deployments, views
from relayer.chain.endpoints import ChainEndpoint, hexed
from relayer.chain.reads import ChainState, Question, ask, read_chain
from relayer.chain.values import Deployment
from relayer.chain.views import view
from relayer.errors import Reverted

SCHEDULED = view("scheduled(bytes32)", "uint256")
MARKET_RULES = view("rules(uint256)", "uint256")
_FIELDS = {
    "owner": views.OWNER,
    "pending_owner": views.PENDING_OWNER,
    "guardian": views.GUARDIAN,
    "launched": views.LAUNCHED,
    "timelock_s": views.TIMELOCK_S,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """The contracts with an owner as they stand at one block, and where to ask them more."""

    endpoint: ChainEndpoint
    deployment: Deployment
    owned: Owned
    state: ChainState
    authorities: Mapping[str, Authority]
    policies: Mapping[str, bytes]

    @property
    def now_s(self) -> UnixS:
        """The chain's own time, which timelocks and pauses are counted in."""
        return UnixS(self.state.timestamp_s)

    async def etas(self, calls: Sequence[NamedCall]) -> dict[NamedCall, int]:
        """Say when each call that must wait may be made; 0 where it is not announced."""
        waiting = [call for call in calls if waits(call, self.authorities[call.contract])]
        asked = [SCHEDULED.call(each.address, "latest", each.operation) for each in waiting]
        answers = await self.endpoint.batch(asked)
        return {call: SCHEDULED.read(answer) for call, answer in zip(waiting, answers, strict=True)}

    async def announced(self, operation: bytes) -> dict[str, int]:
        """Say where an operation is announced, and for when."""
        places = self.owned.addresses
        asked = [SCHEDULED.call(place, "latest", operation) for place in places.values()]
        answers = await self.endpoint.batch(asked)
        return {name: SCHEDULED.read(answer) for name, answer in zip(places, answers, strict=True)}

    async def market_rules(self) -> dict[MarketId, int]:
        """Read the engine's word of each market; nothing where there is no engine."""
        engine = self.owned.addresses.get(ENGINE)
        if engine is None:
            return {}
        markets = [MarketId(each) for each in range(len(self.state.oracle.markets))]
        asked = [MARKET_RULES.call(engine, self.state.block_number, market) for market in markets]
        answers = await self.endpoint.batch(asked)
        return {
            market: MARKET_RULES.read(answer)
            for market, answer in zip(markets, answers, strict=True)
        }

    async def tried(self, call: NamedCall, sender: str) -> str | None:
        """Say why a call would be refused now, without sending it; None: it would be taken."""
        request = {"from": sender, "to": call.address, "data": hexed(call.payload)}
        try:
            await self.endpoint.call("eth_call", request, "latest")
        except Reverted as refusal:
            return str(refusal)
        return None


@asynccontextmanager
async def open_office(network: Network) -> AsyncIterator[Office]:
    """Read everything that an owner's or guardian's act depends on."""
    deployment = deployments.read(network.deployment_file)
    endpoint = await ChainEndpoint.open(network.rpc_url, chain_id=deployment.chain_id)
    try:
        state, owned = await read_chain(endpoint, deployment), Owned(deployment)
        questions = [
            Question(f"{name}.{field}", asked, address)
            for name, address in owned.addresses.items()
            for field, asked in _FIELDS.items()
        ]
        signed = {"PriceFeed": deployment.price_feed, "RiskOracle": deployment.risk_oracle}
        questions += [Question(f"{n}.policy", views.POLICY_HASH, a) for n, a in signed.items()]
        found = await ask(endpoint, await endpoint.block(state.block_number), questions)
        yield Office(
            endpoint=endpoint,
            deployment=deployment,
            owned=owned,
            state=state,
            authorities={
                name: Authority(**{field: found[f"{name}.{field}"] for field in _FIELDS})
                for name in owned.addresses
            },
            policies={name: found[f"{name}.policy"] for name in signed},
        )
    finally:
        await endpoint.close()
