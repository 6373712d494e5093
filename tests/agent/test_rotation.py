"""Signers and threshold change on chain while a daemon serves: what it costs, and who is refused.

Each change lands at the worst moment: after a message was signed, before it is delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self

import aiohttp
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from agent import app
from agent.config import Settings, SignersSettings, load_settings
from agent.demo.stage import Stage
from agent.deploying import deploy_network
from agent.derive_settings import DeriveSettings
from agent.network import Network, local_network, local_role
from agent.ports import Attestation
from agent.signing_process import Place, SignerProcess, signer_process
from contracts.fields import keccak256
from relayer.chain.configuration import read_configuration
from relayer.chain.endpoints import ChainEndpoint
from relayer.chain.views import View, view
from relayer.chain.wallet import Wallet
from relayer.delivery.fees import FeeRules
from relayer.delivery.states import Effective, Outcome
from relayer.local import client
from relayer.local.candles import PLAY_MS, write_demo_candles
from relayer.local.state import WorldState
from relayer.market.jumps import JumpWatch
from relayer.signing.values import NoQuorum, Proposal, RefusalReason, SignedMessage

pytestmark = pytest.mark.loopback
ADD, REMOVE = view("add_signer(address)"), view("remove_signer(address)")
THRESHOLD, SCHEDULE = view("set_threshold(uint256)"), view("schedule(bytes32)")
KINDS = ("price", "risk")
LANDED, LOST = {True}, {False}
Change = Callable[[], Awaitable[object]]
DAY_MS, HEARTBEAT_MS, TICK_MS = 86_400_000, 31_000, 1_000
# A day of timelock later there are three days of history, and of four some of the recording left.
START = datetime.fromtimestamp((PLAY_MS - DAY_MS + 3_600_000) / 1_000, UTC)


class Node:
    """A signer's own endpoint, which can fall behind the chain."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.head: str | None = None  # where it stands still; None: it follows

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen, and give the URL."""
        page = web.Application()
        page.router.add_post("/", self._handle)
        runner = web.AppRunner(page)
        await runner.setup()
        try:
            async with aiohttp.ClientSession() as self._session:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        asked = await request.json()
        for call in asked if isinstance(asked, list) else [asked]:
            call["params"] = [self._seen(each) for each in call.get("params", [])]
        async with self._session.post(self._url, json=asked) as answer:
            return web.Response(body=await answer.read(), content_type="application/json")

    def _seen(self, parameter: object) -> object:
        return self.head if self.head and parameter == "latest" else parameter


@dataclass
class Crossing:
    """The daemon's way to its signers, on which a change overtakes what was just signed."""

    quorum: Attestation
    changes: dict[str, Change] = field(default_factory=dict)  # by contract
    answers: list[SignedMessage | NoQuorum] = field(default_factory=list)

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        self.answers.append(await self.quorum.collect(proposal))
        change = self.changes.pop(proposal.domain.contract, None)
        if change is not None:
            await change()
        return self.answers[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What became of a price round and a risk update, and by which signers each was signed."""

    outcomes: tuple[Outcome | NoQuorum, ...]
    signers: tuple[set[int], ...]
    overtaken: bool  # by a change of either contract, between signing and delivery

    @property
    def fates(self) -> set[bool]:
        return {isinstance(outcome, Effective) for outcome in self.outcomes}


@dataclass
class Service:
    """A daemon that goes on posting prices and parameters until it is left."""

    stage: Stage
    crossing: Crossing
    asked: dict[str, Change] = field(default_factory=dict)  # what overtakes the next turn
    turns: list[Turn] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False

    async def __aenter__(self) -> Self:
        self.running = asyncio.create_task(self._run())
        self.running.add_done_callback(lambda _: self.came.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping = True
        await self.running

    async def _run(self) -> None:
        while not self.stopping:
            # What was lost is due again at the daemon's next look.
            wait_ms = HEARTBEAT_MS if not self.turns or self.turns[-1].fates == LANDED else TICK_MS
            await self.stage.pass_to(await self.stage.now_ms() + wait_ms)
            changes, self.asked = self.asked, {}
            self.crossing.changes.update(changes)
            price, risk = await self.stage.tick(), await self.stage.cycle()
            postings = (*price.postings, *risk.postings)
            assert len(postings) == len(self.crossing.answers) == 2, (price.entry, risk.entry)
            self.turns.append(
                Turn(
                    outcomes=tuple(posting.outcome for posting in postings),
                    signers=tuple(numbers(answer) for answer in self.crossing.answers),
                    overtaken=bool(changes),
                )
            )
            self.crossing.answers.clear()
            self.came.set()

    async def until(self, holds: Callable[[list[Turn]], bool]) -> list[Turn]:
        """Give the turns from here on, as soon as something is so of them; fail if it ends."""
        first = len(self.turns)
        while not holds(self.turns[first:]):
            if self.running.done():
                await self.running
                raise AssertionError("the service has ended")
            self.came.clear()
            await self.came.wait()
        return self.turns[first:]

    async def more(self) -> Turn:
        """Give the turn that follows the one that is under way."""
        return (await self.until(lambda turns: len(turns) > 1))[1]

    async def overtaken(self, changes: dict[str, Change]) -> list[Turn]:
        """Let changes overtake a turn; give that turn and the one after it."""
        self.asked = changes
        return (await self.until(lambda turns: any(turn.overtaken for turn in turns[:-1])))[-2:]


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A world, its contracts, and what signers and daemons are started with."""

    world: WorldState
    folder: Path
    settings: Settings
    stack: AsyncExitStack

    @property
    def network(self) -> Network:
        return local_network(self.world, self.folder)

    async def signer(self, number: int, rpc_url: str | None = None) -> SignerProcess:
        """Start a signer as its process does, behind a door of its own."""
        network = replace(self.network, rpc_url=rpc_url or self.world.rpc_url)
        peers = [{"url": f"http://127.0.0.1:{port}"} for port in range(1, number + 1)]
        place = Place(number=number, host="127.0.0.1", port=0, metrics_port=0)
        return await self.stack.enter_async_context(
            signer_process(network, self.with_peers(peers), place)
        )

    @asynccontextmanager
    async def daemon(self, *signers: SignerProcess) -> AsyncIterator[Service]:
        """Start a daemon that has these signers as peers, and let it serve."""
        settings = self.with_peers([{"url": f"http://127.0.0.1:{s.port}"} for s in signers])
        model = app.load_model(settings)
        async with app.daemon(self.network, settings, model) as made:
            crossing = Crossing(made.hands.quorum)
            daemon = replace(made, hands=replace(made.hands, quorum=crossing))
            seen = [JumpWatch(rules=settings.jumps)]
            stage = Stage(world=self.world, daemon=daemon, settings=settings, say=print, seen=seen)
            async with Service(stage, crossing) as service:
                yield service

    def with_peers(self, peers: list[dict[str, str]]) -> Settings:
        named = SignersSettings.model_validate({"peers": peers, "timeout_s": 60.0}, strict=False)
        return self.settings.model_copy(update={"signers": named})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who changes both contracts' signers; what adds power was announced a day before."""

    wallet: Wallet
    contracts: dict[str, str]  # by kind

    async def announce(self) -> None:
        for kind, contract in self.contracts.items():
            for payload in (
                ADD.payload(address(kind, 4)),
                THRESHOLD.payload(3),
                THRESHOLD.payload(2),
            ):
                await self.wallet.tell(contract, SCHEDULE, keccak256(payload))

    def adds(self, number: int) -> dict[str, Change]:
        return self._both(ADD, {kind: address(kind, number) for kind in KINDS})

    def removes(self, number: int) -> dict[str, Change]:
        return self._both(REMOVE, {kind: address(kind, number) for kind in KINDS})

    def sets_threshold(self, threshold: int) -> dict[str, Change]:
        return self._both(THRESHOLD, dict.fromkeys(KINDS, threshold))

    def _both(self, function: View, values: Mapping[str, object]) -> dict[str, Change]:
        return {
            contract: partial(self.wallet.tell, contract, function, values[kind])
            for kind, contract in self.contracts.items()
        }


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[tuple[House, Owner, ChainEndpoint]]:
    """Deploy, announce what the rotation will do, and let a day pass."""
    world = client.start(folder, start_at=START, replay=two_markets(folder / "candles.parquet"))
    loaded = load_settings("local")
    metrics = loaded.metrics.model_copy(update={"port": 0})
    derive = DeriveSettings(mode="off", positions=False)
    settings = loaded.model_copy(update={"metrics": metrics, "http": None, "derive": derive})
    try:
        async with AsyncExitStack() as stack:
            house = House(world=world, folder=folder, settings=settings, stack=stack)
            made = await deploy_network(house.network, settings, lambda _: None)
            endpoint = await ChainEndpoint.open(world.rpc_url, chain_id=made.chain_id)
            stack.push_async_callback(endpoint.close)
            wallet = Wallet(endpoint, local_role("owner"), FeeRules())
            contracts = {"price": made.price_feed, "risk": made.risk_oracle}
            owner = Owner(wallet=wallet, contracts=contracts)
            await owner.announce()
            client.advance(world, client.status(folder).now_ms + DAY_MS + 60_000)
            yield house, owner, endpoint
    finally:
        client.stop(folder)


def two_markets(path: Path) -> Path:
    """Write the demo's recording without most of its markets: here they would only cost time."""
    write_demo_candles(path, seed=7)
    table = pq.read_table(path)
    kept = pc.is_in(table["symbol"], pa.array(["BTC/USDC:USDC", "ETH/USDC:USDC"]))
    pq.write_table(table.filter(kept), path)
    return path


def address(kind: str, number: int) -> str:
    return local_role(f"{kind}-signer-{number}").address


def numbers(answer: SignedMessage | NoQuorum) -> set[int]:
    """Say which of the signers signed, by their numbers; nobody where there were too few."""
    known = {address(kind, number): number for kind in KINDS for number in (1, 2, 3, 4)}
    return {known[each] for each in answer.signers} if isinstance(answer, SignedMessage) else set()


def refusals(turn: Turn) -> set[tuple[str, RefusalReason]]:
    """Say who refused in a turn for which there was no quorum, and why."""
    return {
        (name, refusal.reason)
        for outcome in turn.outcomes
        if isinstance(outcome, NoQuorum)
        for name, refusal in outcome.refusals.items()
    }


async def test_rotation__in_service__each_change_costs_the_turn_it_overtakes_and_no_other(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(400), standing(tmp_path) as (house, owner, endpoint):
        node = Node(house.world.rpc_url)
        behind = await house.stack.enter_async_context(node.serving())
        old = [await house.signer(1), await house.signer(2, behind), await house.signer(3)]
        async with house.daemon(*old) as service:
            before = [await service.more()]
        # A daemon that lists the new signer takes over; the other signers run on as they are.
        new = await house.signer(4)
        async with house.daemon(*old, new) as service:
            before += [await service.more()]
            assert [turn.fates for turn in before] == [LANDED, LANDED]
            assert not any(4 in signers for turn in before for signers in turn.signers)

            node.head = hex((await endpoint.block("latest")).number)  # the second stands still
            added = await service.overtaken(owner.adds(4))
            assert [turn.fates for turn in added] == [LOST, LANDED]
            assert not any(2 in each for each in added[1].signers)
            raised = await service.overtaken(owner.sets_threshold(3))
            assert [turn.fates for turn in raised] == [LOST, LANDED]
            assert raised[1].signers == ({1, 3, 4}, {1, 3, 4})

            # Now the one that has not caught up is needed: it signs nothing, and nothing goes.
            removed = await service.overtaken(owner.removes(1))
            assert [turn.fates for turn in removed] == [LOST, LOST]
            old_digest = {(f"{kind}-2", RefusalReason.WRONG_CONFIG) for kind in KINDS}
            assert refusals(removed[1]) == old_digest
            node.head = None
            caught_up = await service.more()
            assert (caught_up.fates, caught_up.signers) == (LANDED, ({2, 3, 4}, {2, 3, 4}))

            lowered = await service.overtaken(owner.sets_threshold(2))
            assert [turn.fates for turn in lowered] == [LOST, LANDED]
            assert [len(each) for each in lowered[1].signers] == [2, 2]
        for kind, contract in owner.contracts.items():
            found = await read_configuration(endpoint, contract)
            assert found.threshold == 2
            assert set(found.signers) == {address(kind, number) for number in (2, 3, 4)}
