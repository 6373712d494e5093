"""Signed actions on positions as calls of the liquidator: encoded, read back, found on chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from contracts.fields import checksummed, keccak256
from contracts.messages import ActionKind, MessageError, PositionAction
from relayer.chain import margin_calls as calls
from relayer.chain import rpc
from relayer.chain.endpoints import ChainEndpoint, hexed
from relayer.chain.rpc import Log
from relayer.chain.values import Deployment
from relayer.chain.views import View
from relayer.errors import ChainRefused

FUNCTIONS: Final[Mapping[ActionKind, View]] = MappingProxyType(
    {
        ActionKind.ADJUST: calls.ADJUST,
        ActionKind.DELEVERAGE: calls.DELEVERAGE,
        ActionKind.LIQUIDATE: calls.LIQUIDATE_SIGNED,
    }
)
_EVENTS: Final[Mapping[bytes, ActionKind]] = MappingProxyType(
    {
        keccak256(
            b"PositionAdjusted(uint256,address,uint256,uint256,uint256,bytes32)"
        ): ActionKind.ADJUST,
        keccak256(
            b"PositionDeleveraged(uint256,address,uint256,int256,bytes32)"
        ): ActionKind.DELEVERAGE,
        keccak256(
            b"PositionLiquidated(uint256,address,uint256,bool,uint256,int256,uint256,bytes32)"
        ): ActionKind.LIQUIDATE,
    }
)
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEvent:
    """What the liquidator says of an action that it carried out; `size` is 0 for an adjustment."""

    kind: ActionKind
    position_id: int
    message_hash: bytes
    size_e18: int
    target_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedAction:
    """An action as the chain has it; `event` None: its price was noted, nothing was closed."""

    event: ActionEvent | None
    message: PositionAction
    signatures: tuple[bytes, ...]
    sender: str
    tx_hash: bytes
    block_number: int


def action_payload(action: PositionAction, signatures: tuple[bytes, ...]) -> bytes:
    """Encode the call that carries an action out, signatures in the order given."""
    halves = [half for each in signatures for half in (each[:32], each[32:])]
    return FUNCTIONS[action.kind].payload(_tuple(action), halves)


def parse_action(payload: bytes) -> tuple[PositionAction, tuple[bytes, ...]]:
    """Read such a call back.

    Raises
    ------
    ChainRefused
        It is no call of an action, or not one that we would have encoded so.
    """
    kinds = [k for k, function in FUNCTIONS.items() if payload[:4] == function.selector]
    try:
        if not kinds:
            raise ChainRefused("the action was not carried out by a direct call")
        values, halves = decode(list(FUNCTIONS[kinds[0]].arguments), payload[4:])
        names = PositionAction.__slots__
        fields = dict(zip(names, values, strict=True)) | {"kind": ActionKind(values[4])}
        action = PositionAction(**fields)
        pairs = zip(halves[::2], halves[1::2], strict=True)
        signatures = tuple(first + second for first, second in pairs)
    except (DecodingError, MessageError, ValueError) as fault:
        raise ChainRefused(f"the action's call cannot be read: {fault}") from fault
    if action_payload(action, signatures) != payload:
        raise ChainRefused("the action's call is not in its one form")
    return action, signatures


def action_event(log: Log) -> ActionEvent | None:
    """Read the liquidator's event of a carried out action; None when the log is another."""
    kind = _EVENTS.get(log.topics[0]) if len(log.topics) == 3 else None
    if kind is None:
        return None
    words = [int.from_bytes(log.data[at : at + 32], "big") for at in range(0, len(log.data), 32)]
    adjusts = kind is ActionKind.ADJUST
    return ActionEvent(
        kind=kind,
        position_id=int.from_bytes(log.topics[1], "big"),
        message_hash=log.data[-32:],
        size_e18=0 if adjusts else words[0],
        target_ppm=words[1] if adjusts else 0,
    )


async def action_in(
    endpoint: ChainEndpoint, deployment: Deployment, tx_hash: bytes
) -> PostedAction | None:
    """Return the signed action that a transaction brought; None where it brought none."""
    receipt = await endpoint.receipt(tx_hash)
    if receipt is None or deployment.margin is None or not receipt.succeeded:
        return None
    transaction = await endpoint.call("eth_getTransactionByHash", hexed(tx_hash))
    to: Any = rpc.member(transaction, "to")
    payload = rpc.data(rpc.member(transaction, "input"))
    liquidator = deployment.margin.liquidator
    known = {function.selector for function in FUNCTIONS.values()}
    if not to or checksummed(str(to)) != checksummed(liquidator) or payload[:4] not in known:
        return None
    message, signatures = parse_action(payload)
    mine = [log for log in receipt.logs if checksummed(log.address) == checksummed(liquidator)]
    events = [event for log in mine if (event := action_event(log)) is not None]
    return PostedAction(
        event=events[0] if events else None,
        message=message,
        signatures=signatures,
        sender=checksummed(str(rpc.member(transaction, "from"))),
        tx_hash=tx_hash,
        block_number=receipt.block_number,
    )


def _tuple(action: PositionAction) -> tuple[Any, ...]:
    values = [getattr(action, name) for name in PositionAction.__slots__]
    return tuple(int(value) if isinstance(value, int) else value for value in values)
