"""Facts about calls without a message: kept, sent and read back like every delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from contracts.book_words import Account, position_id, split_position_id
from contracts.fields import keccak256
from contracts.messages import ActionKind, PositionAction
from contracts.refusals import Refusal
from contracts.units import MarketId, Ppm, UnixMs
from relayer.chain.action_calls import action_event, action_payload, parse_action
from relayer.chain.rpc import Log, Receipt
from relayer.chain.values import SkippedItem
from relayer.delivery.calls import (
    GRACE,
    SECOND_ROUND,
    ContractCall,
    cancel_request,
    catch_up,
    confirm_call,
    deleverage_side,
    execute_request,
    liquidate,
    pause,
    settle,
)
from relayer.delivery.states import Effective, Expired, Failed, Superseded
from relayer.errors import ChainRefused, Reverted
from relayer.storage import Database
from tests.relayer import builders as b
from tests.relayer.delivery.test_transactor import World

DESK = "0x" + "d5" * 20
IDENTITY = position_id(Account(0xA1), MarketId(2), 1)
REQUEST = ("0x" + "a1" * 20, 2, 1, True, False, True, *range(9))
CALL = ContractCall(
    kind="keeper",
    chain_id=6343,
    contract=DESK,
    payload=execute_request(REQUEST),
    made_at_ms=b.NOW_MS,
    valid_until_ms=b.NOW_MS + 15_000,
)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_call__twice__is_sent_once(world: World) -> None:
    transactor = world.transactor()
    first = await transactor.call(CALL)
    again = await world.transactor().call(CALL)
    assert isinstance(first, Effective)
    assert again == first
    assert len(world.chain.receipts) == 1
    assert world.chain.estimates == 1


async def test_call__made_later__is_another_one(world: World) -> None:
    transactor = world.transactor()
    await transactor.call(CALL)
    await transactor.call(replace(CALL, made_at_ms=CALL.made_at_ms + 1))
    assert len(world.chain.receipts) == 2
    assert world.chain.estimates == 2  # what it costs is asked each time: shapes say nothing


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (Refusal.NOT_REQUESTED, Superseded),
        (Refusal.NOT_LIQUIDATABLE, Superseded),
        (Refusal.OUTSIDE_WINDOW, Expired),
        (Refusal.GRACE_RUNNING, Failed),
    ],
)
async def test_call__refused_when_tried__costs_nothing(
    world: World, refusal: Refusal, kind: type
) -> None:
    world.chain.refusal = Reverted(refusal.name, code=refusal)
    outcome = await world.transactor().call(CALL)
    assert isinstance(outcome, kind)
    assert world.chain.seen == []
    assert world.read_back.asked == 0


async def test_resume__a_call_left_open__is_brought_to_its_end(world: World) -> None:
    world.chain.mines_at_once = False
    transactor = world.transactor(give_up_after_s=1.0)
    with pytest.raises(Exception, match="outbox"):
        await transactor.call(CALL)
    world.chain.mines_at_once = True
    world.chain.mine()
    (outcome,) = await world.transactor().resume()
    assert isinstance(outcome, Effective)


class Asked:
    """An endpoint that answers a header, and whether the desk still holds the request."""

    def __init__(self, pending: int) -> None:
        self.pending = pending

    async def batch(self, calls: Sequence[Any]) -> tuple[Any, ...]:
        header = {
            "number": "0x5",
            "hash": "0x" + "bb" * 32,
            "timestamp": "0x1",
            "baseFeePerGas": "0x1",
        }
        return (header, *("0x" + f"{self.pending:064x}" for _ in calls[1:]))


def receipt(*logs: tuple[str, int]) -> Receipt:
    return Receipt(
        tx_hash=b"\1" * 32,
        block_number=5,
        block_hash=b"\xbb" * 32,
        succeeded=True,
        gas_used=1,
        gas_price_wei=1,
        l1_fee_wei=0,
        logs=tuple(
            Log(address=DESK, topics=(keccak256(name.encode()), key.to_bytes(32, "big")), data=b"")
            for name, key in logs
        ),
    )


CLOSED = "PositionLiquidated(uint256,address,uint256,bool,uint256,int256,uint256,bytes32)"
NOTED = "LiquidationDeferred(uint256,uint256,uint256,uint256)"
EXECUTED = ("Executed(bytes32,address,address)", int.from_bytes(keccak256(CALL.payload[4:]), "big"))


async def confirmed(payload: bytes, found: Receipt, pending: int = 0) -> Any:
    return await confirm_call(Asked(pending), payload, DESK, found)  # type: ignore[arg-type]


async def test_confirm__each_call_with_its_event__is_effective() -> None:
    cut, settled = "CutsApplied(uint256,uint256,int256)", "PositionSettled(uint256,uint256,int256)"
    paused = "Paused(uint256,uint256,uint256,bool)"
    for payload, event in (
        (CALL.payload, EXECUTED),
        (liquidate(IDENTITY), (CLOSED, IDENTITY)),
        (catch_up(IDENTITY), (cut, IDENTITY)),
        (settle(IDENTITY), (settled, IDENTITY)),
        (pause(1, 3_600), (paused, 1)),
    ):
        outcome = await confirmed(payload, receipt(event))
        assert isinstance(outcome, Effective)
        assert outcome.skipped == ()
        assert isinstance(await confirmed(payload, receipt((event[0], 77))), Failed)
        assert isinstance(await confirmed(payload, receipt()), Failed)


async def test_confirm__a_price_that_was_only_noted__says_so() -> None:
    outcome = await confirmed(liquidate(IDENTITY), receipt((NOTED, 4)))
    assert isinstance(outcome, Effective)
    assert outcome.skipped == (SkippedItem(market=MarketId(4), code=0, reason=SECOND_ROUND),)


async def test_confirm__a_grace_that_began__says_so() -> None:
    begun = ("GraceBegun(address,int256,uint256,uint256)", split_position_id(IDENTITY)[0])
    outcome = await confirmed(liquidate(IDENTITY), receipt(begun))
    assert isinstance(outcome, Effective)
    market = split_position_id(IDENTITY)[1]
    assert outcome.skipped == (SkippedItem(market=market, code=0, reason=GRACE),)
    assert isinstance(await confirmed(liquidate(IDENTITY), receipt((begun[0], 77))), Failed)


async def test_confirm__still_waiting_at_the_desk__is_no_success() -> None:
    assert isinstance(await confirmed(CALL.payload, receipt(EXECUTED), pending=1), Failed)


async def test_confirm__block_gone__is_to_be_mined_again() -> None:
    gone = replace(receipt(EXECUTED), block_hash=b"\xcc" * 32)
    assert await confirmed(CALL.payload, gone) is None


ACTION = PositionAction(
    observed_at_ms=UnixMs(b.NOW_MS),
    valid_until_ms=UnixMs(b.NOW_MS + 60_000),
    position_id=IDENTITY,
    position_version=3,
    kind=ActionKind.DELEVERAGE,
    maintenance_ppm=Ppm(0),
    max_size_e18=10**18,
    price_bound_e18=5 * 10**18,
    model_hash=b"\xab" * 32,
    evidence_hash=b"\xee" * 32,
)
SIGNATURES = (b"\1" * 64, b"\2" * 64)
DELEVERAGED = "PositionDeleveraged(uint256,address,uint256,int256,bytes32)"
ADJUSTED = "PositionAdjusted(uint256,address,uint256,uint256,uint256,bytes32)"


@pytest.mark.parametrize("kind", list(ActionKind))
def test_action__encoded__is_read_back_and_nothing_else_is(kind: ActionKind) -> None:
    action = replace(ACTION, kind=kind)
    payload = action_payload(action, SIGNATURES)
    assert parse_action(payload) == (action, SIGNATURES)
    for broken in (payload[:-1], payload + b"\0" * 32, b"\0" * 4 + payload[4:]):
        with pytest.raises(ChainRefused):
            parse_action(broken)


async def test_confirm__a_signed_action__counts_by_the_event_of_its_position() -> None:
    payload = action_payload(ACTION, SIGNATURES)
    done = await confirmed(payload, receipt((DELEVERAGED, IDENTITY)))
    assert isinstance(done, Effective)
    assert done.skipped == ()
    noted = await confirmed(payload, receipt((NOTED, 2)))
    assert isinstance(noted, Effective)
    assert noted.skipped == (SkippedItem(market=MarketId(2), code=0, reason=SECOND_ROUND),)
    another = await confirmed(payload, receipt((DELEVERAGED, IDENTITY + 1)))
    assert isinstance(another, Failed)


async def test_confirm__an_adjustment__counts_by_its_own_event() -> None:
    payload = action_payload(replace(ACTION, kind=ActionKind.ADJUST), SIGNATURES)
    assert isinstance(await confirmed(payload, receipt((ADJUSTED, IDENTITY))), Effective)
    assert isinstance(await confirmed(payload, receipt((DELEVERAGED, IDENTITY))), Failed)


async def test_confirm__a_cancelled_request_and_a_cut_side__count_by_their_events() -> None:
    payload = cancel_request(REQUEST)
    key = int.from_bytes(keccak256(payload[4:]), "big")
    assert isinstance(
        await confirmed(payload, receipt(("Cancelled(bytes32,address)", key))), Effective
    )
    side = "SideDeleveraged(uint256,bool,address,uint256,uint256,uint256,uint256)"
    cut = deleverage_side(MarketId(2), long=True)
    assert isinstance(await confirmed(cut, receipt((side, 2))), Effective)
    assert isinstance(await confirmed(cut, receipt((side, 3))), Failed)


def test_event__of_a_carried_out_action__names_its_message() -> None:
    words = (7 * 10**18, 5, int.from_bytes(b"\xcc" * 32, "big"))
    log = Log(
        address=DESK,
        topics=(keccak256(DELEVERAGED.encode()), IDENTITY.to_bytes(32, "big"), bytes(32)),
        data=b"".join(word.to_bytes(32, "big") for word in words),
    )
    found = action_event(log)
    assert found is not None
    assert (found.kind, found.position_id) == (ActionKind.DELEVERAGE, IDENTITY)
    assert (found.size_e18, found.message_hash) == (7 * 10**18, b"\xcc" * 32)


async def test_call__named_by_its_message__is_one_delivery_whenever_it_is_made(
    world: World,
) -> None:
    transactor = world.transactor()
    named = replace(CALL, kind="action", named=b"\7" * 32)
    await transactor.call(named)
    await transactor.call(replace(named, made_at_ms=CALL.made_at_ms + 5))
    assert len(world.chain.receipts) == 1
