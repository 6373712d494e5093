"""All contracts on an EVM in process, and the owner's Safe: what executes a batch file as one."""

from __future__ import annotations

from collections.abc import Sequence

from agent.owner.acts import ENGINE, FEED, ORACLE, POOL, Owned
from agent.owner.safe import Batch, decode, encode
from agent.owner.steps import Authority, Step, steps
from contracts.calls import NamedCall
from contracts.fields import checksummed
from contracts.units import MarketId, UnixS
from relayer.chain.reads import ChainState
from relayer.chain.values import DeployedMarket, Deployment, MarginContracts
from tests.contracts.chain import Contract
from tests.contracts.margin_world import MarginWorld
from tests.contracts.world import CLASS, OWNER


class Stand:
    """A launched deployment; time moves only when told."""

    def __init__(self) -> None:
        self.world = world = MarginWorld(fund=False)
        self.contracts: dict[str, Contract] = {
            FEED: world.feed.contract,
            ORACLE: world.oracle.contract,
            ENGINE: world.engine,
            POOL: world.pool,
        }
        for contract in self.contracts.values():
            contract.send(OWNER, "launch")
        self.deployment = deployment_of(world)
        self.owned = Owned(self.deployment)

    @property
    def now_s(self) -> UnixS:
        return UnixS(self.world.now_s)

    @property
    def state(self) -> ChainState:
        return ChainState(
            chain_id=self.world.evm.chain_id,
            block_number=1,
            block_hash=b"\x01" * 32,
            timestamp_s=self.now_s,
            feed=self.world.feed.state(),
            oracle=self.world.oracle.state(),
        )

    @property
    def authorities(self) -> dict[str, Authority]:
        return {
            name: Authority(
                owner=checksummed(contract.read("owner")),
                pending_owner=checksummed(contract.read("pending_owner")),
                guardian=checksummed(contract.read("guardian")),
                launched=contract.read("launched"),
                timelock_s=contract.read("timelock_s"),
            )
            for name, contract in self.contracts.items()
        }

    def steps(self, calls: Sequence[NamedCall]) -> tuple[Step, ...]:
        etas = {
            call: self.contracts[call.contract].read("scheduled", call.operation) for call in calls
        }
        return steps(calls, self.authorities, etas, self.now_s)

    def execute(self, step: Step) -> None:
        """Write the step as a file, read it as the Safe does, and make its calls as the owner."""
        batch = Batch(
            name=step.name,
            description="",
            chain_id=self.state.chain_id,
            safe=OWNER,
            made_at_ms=0,
            calls=step.calls,
        )
        names = {contract.address: name for name, contract in self.contracts.items()}
        for call in decode(encode(batch), names, batch.chain_id).calls:
            self.contracts[call.contract].send_raw(OWNER, call.payload)

    def carry_out(self, calls: Sequence[NamedCall]) -> tuple[str, ...]:
        """Go through all steps, waiting as long as each says."""
        names = []
        for step in self.steps(calls):
            self.world.wait(step.after_s or 0)
            self.execute(step)
            names.append(step.name)
        return tuple(names)


def deployment_of(world: MarginWorld) -> Deployment:
    return Deployment(
        chain_id=world.evm.chain_id,
        price_feed=world.feed.address,
        risk_oracle=world.oracle.address,
        block_number=0,
        markets=tuple(
            DeployedMarket(market=MarketId(market), symbol=f"M{market}", class_id=CLASS)
            for market in world.prices
        ),
        margin=MarginContracts(
            token=world.token.address,
            vault=world.vault.address,
            pool=world.pool.address,
            engine=world.engine.address,
            desk=world.desk.address,
            liquidator=world.liquidator.address,
            views=world.views.address,
        ),
    )
