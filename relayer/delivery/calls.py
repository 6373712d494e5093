"""Calls without a round: what anybody may do, what the guardian may, and signed actions.

They go the way of every delivery: kept before they are sent, repeated, outbid, read back. A call's
hash says which call of when it is, so that the same one planned twice is one delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from contracts.book_words import Account, PositionId, position_id, split_position_id
from contracts.fields import keccak256
from contracts.messages import ActionKind, PositionAction
from contracts.units import MarketId
from relayer.chain import margin_calls as calls
from relayer.chain import rpc
from relayer.chain.action_calls import FUNCTIONS, action_payload
from relayer.chain.endpoints import ChainEndpoint, block_call
from relayer.chain.rpc import Log, Receipt
from relayer.chain.values import SkippedItem
from relayer.chain.views import view
from relayer.delivery.states import Effective, Failed, FailureReason, Outcome
from relayer.signing.values import SignedMessage

CallKind: TypeAlias = Literal["keeper", "guardian", "action"]
CALL_KINDS: Final = ("keeper", "guardian", "action")
SECOND_ROUND: Final = "SECOND_ROUND"
"""Why a liquidation closed nothing although it took effect: its price was noted, not used."""
GRACE: Final = "GRACE"
"""The same: the account lacks only profit without a live price, and its grace began."""

PAUSE: Final = view("pause(uint256,uint256)")
_PENDING: Final = view("pending(bytes32)", "uint256")
_CLOSED: Final = "PositionLiquidated(uint256,address,uint256,bool,uint256,int256,uint256,bytes32)"
_PAUSED: Final = "Paused(uint256,uint256,uint256,bool)"
_NOTED: Final = "LiquidationDeferred(uint256,uint256,uint256,uint256)"
_GRACED: Final = "GraceBegun(address,int256,uint256,uint256)"
_ADJUSTED: Final = "PositionAdjusted(uint256,address,uint256,uint256,uint256,bytes32)"
_DELEVERAGED: Final = "PositionDeleveraged(uint256,address,uint256,int256,bytes32)"
_SIDE_CUT: Final = "SideDeleveraged(uint256,bool,address,uint256,uint256,uint256,uint256)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCall:
    """One call of one function, by this daemon's own account, worth sending until a time.

    `named`: the hash of the message that it carries, under which it is one delivery.
    """

    kind: CallKind
    chain_id: int
    contract: str
    payload: bytes
    made_at_ms: int
    valid_until_ms: int
    named: bytes | None = None

    @property
    def call_hash(self) -> bytes:
        """Tell this call from any other, and from the same one at another time."""
        if self.named is not None:
            return self.named
        where = f"{self.chain_id}:{self.contract}:{self.made_at_ms}:".encode()
        return keccak256(where + self.payload)


def execute_request(fields: Sequence[Any]) -> bytes:
    """Encode the execution of a waiting request, as its event gave it."""
    return calls.EXECUTE.payload(tuple(fields))


def liquidate(identity: PositionId) -> bytes:
    """Encode the liquidation of a position by the formula."""
    return calls.LIQUIDATE.payload(*_place(identity))


def catch_up(identity: PositionId) -> bytes:
    """Encode the bringing of a position up to the cuts of its side."""
    return calls.CATCH_UP.payload(identity)


def settle(identity: PositionId) -> bytes:
    """Encode the end of a position in a settled market."""
    return calls.SETTLE.payload(*_place(identity))


def cancel_request(fields: Sequence[Any]) -> bytes:
    """Encode the cancellation of a request whose window is over."""
    return calls.CANCEL.payload(tuple(fields))


def deleverage_side(market: MarketId, *, long: bool) -> bytes:
    """Encode the cut of a side whose profit has outgrown its share of the pool."""
    return calls.DELEVERAGE_SIDE.payload(market, long)


def act(signed: SignedMessage) -> bytes:
    """Encode what carries a signed action out."""
    message = signed.message
    assert isinstance(message, PositionAction), "only actions go to the liquidator"
    return action_payload(message, signed.signatures)


def pause(scope: int, duration_s: int) -> bytes:
    """Encode a pause by the guardian."""
    return PAUSE.payload(scope, duration_s)


def _place(identity: PositionId) -> tuple[str, int, int]:
    account, market, mode = split_position_id(identity)
    return f"0x{account:040x}", market, mode


async def confirm_call(
    endpoint: ChainEndpoint, payload: bytes, contract: str, receipt: Receipt
) -> Outcome | None:
    """Say whether a mined call did what it was for; None when its block is gone.

    Its event says that it was this transaction; the desk, asked at that block, that it holds.
    """
    effects = _effects(payload)
    logs = [log for log in receipt.logs if any(log.topics[: len(e)] == e for e in effects)]
    sealed = receipt.block_hash is not None
    tag = receipt.block_number if sealed else "latest"
    asked = [_PENDING.call(contract, tag, keccak256(payload[4:]))] if _executes(payload) else []
    header, *answers = await endpoint.batch([block_call(tag), *asked])
    if sealed and (header is None or rpc.block_stamp(header).block_hash != receipt.block_hash):
        return None
    if not logs or any(_PENDING.read(answer) for answer in answers):
        missing = "it was mined, and the contract does not show what it was for"
        reason = FailureReason.NOT_IN_CONTRACT
        return Failed(reason=reason, detail=missing, tx_hash=receipt.tx_hash)
    return Effective(
        tx_hash=receipt.tx_hash,
        block_number=receipt.block_number,
        gas_used=receipt.gas_used,
        skipped=_deferred(logs, payload),
    )


def _executes(payload: bytes) -> bool:
    return payload[:4] in (calls.EXECUTE.selector, calls.CANCEL.selector)


def _effects(payload: bytes) -> list[tuple[bytes, ...]]:
    """Name the events, any of which says that a call did what it was for."""
    selector, words = payload[:4], _words(payload)
    if selector == calls.EXECUTE.selector:
        return [(_topic("Executed(bytes32,address,address)"), keccak256(payload[4:]))]
    if selector == calls.CANCEL.selector:
        return [(_topic("Cancelled(bytes32,address)"), keccak256(payload[4:]))]
    if selector in _SIGNED:
        event, notes = _SIGNED[selector]  # the third word is the position's id
        return [(_topic(event), words[2]), *((_topic(note),) for note in notes)]
    if selector == calls.DELEVERAGE_SIDE.selector:
        return [(_topic(_SIDE_CUT), words[0]), (_topic(_NOTED), words[0])]
    if selector == calls.LIQUIDATE.selector:
        account, market, mode = (int.from_bytes(word, "big") for word in words)
        identity = position_id(Account(account), MarketId(market), mode)
        closed = (_topic(_CLOSED), identity.to_bytes(32, "big"))
        begun = (_topic(_GRACED), words[0])
        return [closed, begun, (_topic(_NOTED),)]  # a note: of any market of a cross account
    if selector == calls.SETTLE.selector:
        account, market, mode = (int.from_bytes(word, "big") for word in words)
        identity = position_id(Account(account), MarketId(market), mode)
        return [(_topic("PositionSettled(uint256,uint256,int256)"), identity.to_bytes(32, "big"))]
    if selector == calls.CATCH_UP.selector:
        return [(_topic("CutsApplied(uint256,uint256,int256)"), words[0])]
    return [(_topic(_PAUSED), words[0])]


_SIGNED: Final = {
    FUNCTIONS[ActionKind.ADJUST].selector: (_ADJUSTED, ()),
    FUNCTIONS[ActionKind.DELEVERAGE].selector: (_DELEVERAGED, (_NOTED,)),
    FUNCTIONS[ActionKind.LIQUIDATE].selector: (_CLOSED, (_NOTED, _GRACED)),
}


def _deferred(logs: Sequence[Log], payload: bytes) -> tuple[SkippedItem, ...]:
    """Name the markets whose price was only noted, or that wait for a grace; none where closed."""
    if all(log.topics[0] == _topic(_GRACED) for log in logs):
        words = _words(payload)
        signed = PositionId(int.from_bytes(words[2], "big")) if payload[:4] in _SIGNED else None
        named = MarketId(int.from_bytes(words[1], "big"))
        market = named if signed is None else split_position_id(signed)[1]
        return (SkippedItem(market=market, code=0, reason=GRACE),)
    noted = [log for log in logs if log.topics[0] == _topic(_NOTED)]
    if len(noted) < len(logs):
        return ()
    markets = (MarketId(int.from_bytes(log.topics[1], "big")) for log in noted)
    return tuple(SkippedItem(market=market, code=0, reason=SECOND_ROUND) for market in markets)


def _words(payload: bytes) -> list[bytes]:
    return [payload[at : at + 32] for at in range(4, len(payload), 32)]


def _topic(signature: str) -> bytes:
    return keccak256(signature.encode())
