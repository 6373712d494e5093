"""Facts about the proof of an action: its own hash, what it closed, and what it would set off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.positions.cascade import Foreseen, choose, encode_cascade
from agent.proof.acting import verify_cascade, verify_event
from agent.proof.actions import encode_action
from contracts.book_words import split_position_id
from contracts.messages import ActionKind, PositionAction, digest
from relayer.chain.action_calls import ActionEvent, PostedAction
from relayer.chain.values import Deployment
from relayer.evidence import EvidenceStore, pack, unpack
from tests.agent.positions.test_action_turn import ORACLE, Play, World
from tests.agent.positions.test_cascade import KEEPER, MARKET, PACE, ladder
from tests.contracts.chain import FAST

pytestmark = pytest.mark.skipif(not FAST, reason="pyrevm has no wheel for this Python")
DEPLOYMENT = Deployment(
    chain_id=6343, price_feed="0x" + "0c" * 20, risk_oracle=ORACLE, block_number=1, markets=()
)


async def deleveraged() -> tuple[dict[str, Any], PostedAction]:
    """An action that was signed, and the chain's own word of it."""
    world = World()
    play = Play(world)
    await play.decide()
    (pending,) = play.actor.pending
    message = pending.action
    posted = PostedAction(
        event=ActionEvent(
            kind=message.kind,
            position_id=message.position_id,
            message_hash=pending.entry.message_hash,
            size_e18=message.max_size_e18 - 1,
            target_ppm=0,
        ),
        message=message,
        signatures=(),
        sender="0x",
        tx_hash=b"\x07" * 32,
        block_number=9,
    )
    return unpack(world.bundles[message.evidence_hash]), posted


def named(fields: dict[str, Any], posted: PostedAction) -> list[str]:
    return [each.field for each in verify_event(fields, posted, DEPLOYMENT)]


async def test_event__what_was_signed__is_what_the_contract_names() -> None:
    fields, posted = await deleveraged()
    assert named(fields, posted) == []
    domain = Play(World()).scene.domain
    assert posted.event is not None
    assert posted.event.message_hash == digest(posted.message, domain)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda m: replace(m, max_size_e18=m.max_size_e18 + 1), "event.message_hash"),
        (lambda m: replace(m, evidence_hash=b"\x02" * 32), "event.message_hash"),
        (lambda m: replace(m, kind=ActionKind.LIQUIDATE), "event.kind"),
        (lambda m: replace(m, position_id=m.position_id + 1), "event.position"),
        (lambda m: replace(m, max_size_e18=m.max_size_e18 - 2), "event.size"),
    ],
)
async def test_event__another_message_than_was_signed__is_named(
    change: Callable[[PositionAction], PositionAction], field: str
) -> None:
    fields, posted = await deleveraged()
    found = named(fields, replace(posted, message=change(posted.message)))
    assert "event.message_hash" in found
    assert field in found


async def test_event__a_false_configuration_or_place_in_the_evidence__is_named() -> None:
    fields, posted = await deleveraged()
    false = {**fields["domain"], "config_digest": "dd" * 32}
    assert named({**fields, "domain": false}, posted) == ["event.message_hash"]
    elsewhere = {**fields["domain"], "chain_id": 1}
    assert named({**fields, "domain": elsewhere}, posted) == ["domain.chain_id"]


async def test_event__more_than_the_ceiling_went_up__is_named() -> None:
    fields, posted = await deleveraged()
    assert posted.event is not None
    higher = replace(posted, event=replace(posted.event, target_ppm=1))
    assert named(fields, higher) == ["event.target"]


def foreseen_in(store: EvidenceStore) -> tuple[Foreseen, bytes]:
    """A cascade over a ladder of positions, kept."""
    book, readings = ladder()
    depths = {MARKET: 5e4}
    found = choose(book, readings, depths, KEEPER, PACE)
    name, bundle = pack(encode_cascade(found, book, readings, depths, (KEEPER, PACE)))
    asyncio.run(store.keep(name, bundle, {}))
    return Foreseen(cascade=found, said=f"cascade: {found.why}", evidence_hash=name), bundle


def liquidation(foreseen: Foreseen) -> dict[str, Any]:
    """What a signed liquidation's evidence says of it."""
    committed = {"evidence": foreseen.evidence_hash.hex(), "said": foreseen.said}
    return {"intended": {"kind": "liquidate"}, "cascade": committed}


def test_cascade__that_was_committed_to__is_foreseen_again(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    foreseen, _ = foreseen_in(store)
    assert verify_cascade(liquidation(foreseen), store) == ((), ())


@pytest.mark.parametrize(
    ("old", "new"), [(b'"now_s":1', b'"now_s":2'), (b'"calls_a_turn":', b'"calls_a_turn": ')]
)
def test_cascade__one_byte_changed__is_named(tmp_path: Path, old: bytes, new: bytes) -> None:
    store = EvidenceStore(tmp_path)
    foreseen, bundle = foreseen_in(store)
    assert old in bundle
    file = next(each for each in tmp_path.rglob("*") if each.is_file())
    file.write_bytes(file.read_bytes().replace(old, new, 1))
    broken, _ = verify_cascade(liquidation(foreseen), store)
    assert broken
    assert all(each.startswith("cascade.") for each in broken)


def test_cascade__another_result_than_its_book_leads_to__is_named(tmp_path: Path) -> None:
    """Whoever signed committed to a result that does not follow."""
    store = EvidenceStore(tmp_path)
    _, bundle = foreseen_in(store)
    fields = json.loads(json.dumps(unpack(bundle)))
    fields["cascade"]["paced"]["bad_debt_usdc"] += 1
    name, false = pack(fields)
    asyncio.run(store.keep(name, false, {}))
    found = verify_cascade(liquidation(Foreseen(said="", evidence_hash=name)), store)
    assert [each.field for each in found[1]] == ["cascade.paced.bad_debt_usdc"]


def test_cascade__liquidation_without_one__is_named_unless_it_says_why(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    assert [d.field for d in verify_cascade(liquidation(Foreseen()), store)[1]] == ["cascade"]
    why = Foreseen(said="cascade not simulated: keeper.simulate is off")
    assert verify_cascade(liquidation(why), store) == ((), ())
    other = {"intended": {"kind": "adjust"}, "cascade": None}
    assert verify_cascade(other, store) == ((), ())


async def test_evidence__of_a_liquidation__commits_to_what_was_foreseen() -> None:
    world = World()
    play = Play(world)
    scene = replace(play.scene, foreseen=Foreseen(said="two fall", evidence_hash=b"\x05" * 32))
    await play.actor.decide(scene, [play.desk.identity])
    fields = unpack(world.bundles[play.actor.pending[0].action.evidence_hash])
    assert fields["cascade"] is None  # a deleverage sets nothing off
    account, _, _ = split_position_id(play.desk.identity)
    grounds = play.actor.chooser.grounds(scene, account)
    case = play.actor.chooser.case(scene, grounds, play.desk.identity)
    what = replace(play.actor.pending[0].what, kind=ActionKind.LIQUIDATE)
    written = encode_action(grounds, case, what, {})
    assert written["cascade"] == {"evidence": "05" * 32, "said": "two fall"}
