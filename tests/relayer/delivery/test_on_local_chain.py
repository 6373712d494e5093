"""Facts about delivery on the embedded chain: from nothing to an effective decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import coincurve
import pytest

from contracts.messages import Domain
from contracts.packing import pack_price_words
from contracts.units import UnixMs
from relayer.chain import deployments
from relayer.chain.deploy import Deployer
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.reads import read_chain
from relayer.delivery.confirm import ContractReadBack
from relayer.delivery.fees import FeeRules
from relayer.delivery.outbox import Outbox
from relayer.delivery.ports import DeliveryRules, LoopTimer, Ports
from relayer.delivery.states import Effective, Superseded
from relayer.delivery.transactor import Transactor
from relayer.errors import WrongChain
from relayer.local import client
from relayer.local.accounts import local_key
from relayer.local.client import LocalClock
from relayer.local.state import WorldState
from relayer.signing.keys import Key
from relayer.signing.values import Proposal
from tests.relayer import builders as b
from tests.relayer.conftest import plan

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldState]:
    folder = tmp_path_factory.mktemp("world") / "state"
    yield client.start(folder)
    client.stop(folder)


def payer(world: WorldState) -> Key:
    return Key(coincurve.PrivateKey(local_key(world.accounts[0].role)))


async def test_local_chain__deploy_post_and_read_back__is_effective_once(
    world: WorldState, tmp_path: Path
) -> None:
    endpoint = await ChainEndpoint.open(world.rpc_url, chain_id=world.chain_id)
    clock = LocalClock(world.control_url)
    key = payer(world)
    planned = replace(plan(2), owner=key.address)
    async with clock.hold(), b.database(tmp_path) as database:
        deployment = await Deployer(endpoint, key, FeeRules()).deploy(planned)
        assert await deployments.verify(endpoint, deployment, planned) == ()
        ports = Ports(
            chain=endpoint,
            read_back=ContractReadBack(endpoint),
            outbox=Outbox(database),
            clock=clock,
            timer=LoopTimer(),
            metrics=b.metrics(),
        )
        transactor = Transactor(key, ports, DeliveryRules(fees=FeeRules()))
        state = await read_chain(endpoint, deployment)
        now = UnixMs(await clock.now_ms())
        message = replace(
            b.price_round(1, 1),
            observed_at_ms=now,
            valid_until_ms=UnixMs(now + 30_000),
            words=pack_price_words([replace(b.quote(m), observed_at_ms=now) for m in (0, 1)], now),
        )
        domain = Domain(
            chain_id=world.chain_id,
            contract=deployment.price_feed,
            config_digest=state.feed.config.config_digest,
        )
        signed = b.sign_with(Proposal(message=message, domain=domain), b.PRICE_KEYS[1:])
        outcome = await transactor.deliver(signed)
        assert isinstance(outcome, Effective), outcome
        assert await transactor.deliver(signed) == outcome
        late = b.sign_with(
            Proposal(message=replace(message, evidence_hash=b"\x01" * 32), domain=domain),
            b.PRICE_KEYS[1:],
        )
        assert isinstance(await transactor.deliver(late), Superseded)
    await clock.close()
    await endpoint.close()


async def test_local_chain__another_chain_expected__is_refused(world: WorldState) -> None:
    with pytest.raises(WrongChain):
        await asyncio.wait_for(ChainEndpoint.open(world.rpc_url, chain_id=4326), 10)
