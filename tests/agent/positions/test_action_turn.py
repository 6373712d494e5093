"""Facts about a turn of signed actions: said, signed, sent at a later price, or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agent.positions.action_choice import Scene
from agent.positions.action_turn import ActionPorts, Actor
from agent.positions.actions import ActionSettings, Withheld
from agent.positions.ahead import Ahead
from agent.proof.actions import verify_action
from contracts.messages import Domain
from contracts.units import UsdcE6
from relayer.chain.action_calls import parse_action
from relayer.chain.values import SkippedItem
from relayer.delivery.calls import SECOND_ROUND, ContractCall
from relayer.delivery.states import Effective, Outcome
from relayer.evidence import unpack
from relayer.journal import CycleEntry, DecisionEntry
from relayer.signing.values import NoQuorum, Proposal, SignedMessage
from tests.agent.positions.test_actions import CALM, MARKET, Desk
from tests.contracts.chain import FAST
from tests.contracts.margin_world import KEEPER

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
ORACLE, LIQUIDATOR = "0x" + "0a" * 20, "0x" + "1b" * 20
SCARED = replace(CALM, deviations=(0.02, 0.06, 0.1, 0.2))
EXECUTE = ActionSettings(mode="execute")


@dataclass
class World:
    """Signers, evidence, delivery and journal that take everything and remember it."""

    given: bool = True
    noted_first: bool = False
    bundles: dict[bytes, bytes] = field(default_factory=dict)
    calls: list[ContractCall] = field(default_factory=list)
    decisions: list[DecisionEntry] = field(default_factory=list)

    async def collect(self, proposal: Proposal) -> SignedMessage | NoQuorum:
        if not self.given:
            return NoQuorum(needed=2, given=1, refusals={})
        return SignedMessage(
            message=proposal.message,
            domain=proposal.domain,
            message_hash=proposal.digest,
            signatures=(b"\1" * 64, b"\2" * 64),
            signers=("a", "b"),
            refusals={},
        )

    async def keep(self, digest: bytes, bundle: bytes, blobs: Mapping[bytes, Any]) -> None:
        del blobs
        self.bundles[digest] = bundle

    async def call(self, call: ContractCall) -> Outcome:
        self.calls.append(call)
        first = self.noted_first and len(self.calls) == 1
        noted = (SkippedItem(market=MARKET, code=0, reason=SECOND_ROUND),) if first else ()
        return Effective(tx_hash=b"\7" * 32, block_number=9, gas_used=1, skipped=noted)

    async def deliver(self, signed: SignedMessage) -> Outcome:
        raise AssertionError("actions are calls")

    async def resume(self) -> tuple[Outcome, ...]:
        return ()

    async def record_cycle(self, entry: CycleEntry) -> int:
        raise AssertionError("the loop journals its turns")

    async def record_decision(self, entry: DecisionEntry) -> int:
        self.decisions.append(entry)
        return len(self.decisions)

    async def settle_decision(self, entry: DecisionEntry) -> None:
        self.decisions.append(entry)

    def actor(self, settings: ActionSettings = EXECUTE, payer: str | None = KEEPER) -> Actor:
        ports = ActionPorts(quorum=self, evidence=self, delivery=self, journal=self, payer=payer)
        return Actor(settings, ports, LIQUIDATOR)


class Play:
    """A managed position below its ceiling, and an actor that has a forecast of its market."""

    def __init__(
        self, world: World, settings: ActionSettings = EXECUTE, payer: str | None = KEEPER
    ) -> None:
        self.world, self.desk = world, Desk()
        self.desk.fall(14)
        self.actor = world.actor(settings, payer)
        ahead = Ahead(as_of_ms=self.desk.now_ms, markets={MARKET: SCARED}, model_hash=b"\xab" * 32)
        self.actor.expect(ahead)

    @property
    def scene(self) -> Scene:
        stage = self.desk.stage
        return Scene(
            book=stage.book,
            readings=stage.seen,
            block=(7, b"\xbb" * 32),
            domain=Domain(chain_id=6343, contract=ORACLE, config_digest=b"\xcc" * 32),
            now_ms=self.desk.now_ms,
        )

    async def decide(self) -> list[str]:
        decided = await self.actor.decide(self.scene, [self.desk.identity])
        return [each.result for each in decided.acted]

    async def send(self) -> list[str]:
        return [each.result for each in await self.actor.send(self.scene)]


async def test_turn__decided__is_sent_once_at_a_price_of_later_and_reproduces() -> None:
    world = World()
    play = Play(world)
    assert await play.decide() == ["signed"]
    assert await play.send() == []  # no price of later yet
    play.desk.stage.later()
    assert await play.send() == ["effective"]
    assert play.actor.pending == ()
    (call,) = world.calls
    action, _ = parse_action(call.payload)
    assert (call.kind, call.contract) == ("action", LIQUIDATOR)
    assert call.named == world.decisions[0].message_hash
    assert [each.state for each in world.decisions] == ["planned", "effective"]
    fields = unpack(world.bundles[action.evidence_hash])
    assert verify_action(fields, action, None) == ()


async def test_evidence__a_word_changed__does_not_lead_to_the_action() -> None:
    world = World()
    play = Play(world)
    await play.decide()
    message = play.actor.pending[0].action
    fields = unpack(world.bundles[message.evidence_hash])
    looser = replace(message, max_size_e18=message.max_size_e18 + 1)
    assert [each.field for each in verify_action(fields, looser, None)] == ["chain.max_size_e18"]
    richer = {**fields, "foresight": {**fields["foresight"]}}
    calm = dict(richer["foresight"][str(MARKET)], deviations=list(CALM.deviations))
    richer["foresight"][str(MARKET)] = calm
    found = verify_action(richer, message, None)
    assert any(each.field.startswith("odds") for each in found)


async def test_turn__mode_suggest__signs_nothing_and_names_the_exact_cure() -> None:
    world = World()
    play = Play(world, ActionSettings())
    decided = await play.actor.decide(play.scene, [play.desk.identity])
    assert [each.result for each in decided.acted] == ["suggested"]
    (said,) = decided.said
    assert "deleverage would help" in said.text
    assert "its owner can instead add" in said.text
    assert (world.bundles, world.calls, world.decisions) == ({}, [], [])


async def test_turn__mode_off__looks_at_nothing() -> None:
    play = Play(World(), ActionSettings(mode="off"))
    assert play.actor.looks_at == 0
    assert await play.decide() == []


async def test_turn__without_a_key__nothing_is_signed() -> None:
    world = World()
    play = Play(world, payer=None)
    assert await play.decide() == []
    assert world.decisions == []


async def test_turn__signers_refuse__is_journalled_and_dropped() -> None:
    world = World(given=False)
    play = Play(world)
    assert await play.decide() == ["unsigned"]
    assert play.actor.pending == ()
    assert [each.state for each in world.decisions] == ["unsigned"]
    assert world.decisions[0].evidence_hash in world.bundles


async def test_turn__the_world_moved__is_void_before_it_is_sent() -> None:
    world = World()
    play = Play(world)
    await play.decide()
    held = play.desk.stage.book.position(play.desk.identity)
    cured = replace(held, collateral=UsdcE6(2 * held.collateral))
    book = play.desk.stage.book
    play.desk.stage.book = replace(book, positions={play.desk.identity: cured})
    play.desk.stage.post()
    scene = replace(play.scene, now_ms=play.desk.now_ms)
    waits = [each.result for each in await play.actor.send(scene)]
    late = replace(scene, now_ms=scene.now_ms + 61_000)
    gone = waits or [each.result for each in await play.actor.send(late)]
    assert gone == ["void"]
    assert world.calls == []
    assert world.decisions[-1].state == "expired"
    assert "void before it was sent" in world.decisions[-1].reason


async def test_turn__price_only_noted__is_sent_again_as_another_delivery() -> None:
    world = World(noted_first=True)
    play = Play(world)
    await play.decide()
    play.desk.stage.later()
    assert await play.send() == ["deferred"]
    play.desk.stage.later()
    assert await play.send() == ["effective"]
    first, second = world.calls
    assert first.payload == second.payload
    assert first.call_hash != second.call_hash


async def test_turn__just_acted_on__is_let_alone_for_a_while() -> None:
    play = Play(World(given=False))
    assert await play.decide() == ["unsigned"]
    assert await play.decide() == []
    later = replace(play.scene, now_ms=play.desk.now_ms + 601_000)
    play.actor.expect(Ahead(as_of_ms=later.now_ms, markets={MARKET: SCARED}, model_hash=bytes(32)))
    decided = await play.actor.decide(later, [play.desk.identity])
    assert [each.result for each in decided.acted] == ["unsigned"]


@pytest.mark.parametrize("settings", [EXECUTE, ActionSettings(mode="suggest")])
async def test_turn__closed_since_it_was_warned_of__is_let_be(settings: ActionSettings) -> None:
    play = Play(World(), settings)
    play.desk.stage.book = replace(play.desk.stage.book, positions={})
    decided = await play.actor.decide(play.scene, [play.desk.identity])
    assert (decided.acted, decided.said, decided.withheld) == ((), (), ())


async def test_turn__closed_after_it_was_signed__is_void_and_not_sent() -> None:
    world = World()
    play = Play(world)
    await play.decide()
    play.desk.stage.book = replace(play.desk.stage.book, positions={})
    play.desk.stage.later()
    assert await play.send() == ["void"]
    assert world.calls == []


async def test_turn__an_old_forecast__withholds() -> None:
    play = Play(World())
    later = replace(play.scene, now_ms=play.desk.now_ms + 301_000)
    decided = await play.actor.decide(later, [play.desk.identity])
    assert (decided.acted, decided.withheld) == ((), (Withheld.NO_FORECAST,))


async def test_turn__a_market_whose_window_is_used_up__waits() -> None:
    settings = ActionSettings(mode="execute", window_ratio=1e-6)
    assert await Play(World(), settings).decide() == []
