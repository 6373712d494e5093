"""What was posted: a batch's event, the calldata that it came with, and what it left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from contracts.fields import checksummed, keccak256
from contracts.messages import CalldataError, PriceRound, RiskUpdate, parse_calldata
from contracts.refusals import Refusal
from contracts.units import MarketId
from relayer.chain import rpc
from relayer.chain.endpoints import ChainEndpoint, hexed
from relayer.chain.rpc import Log, Receipt
from relayer.chain.values import Deployment, SkippedItem
from relayer.errors import BadAnswer, ChainRefused

Kind: TypeAlias = Literal["price", "risk"]

PRICE_TOPIC: Final = keccak256(b"PriceRoundPosted(uint64,uint64,bytes32,bytes32,uint256[])")
RISK_TOPIC: Final = keccak256(b"RiskUpdatePosted(uint64,uint64,bytes32,bytes32,bytes32,uint256[])")
_DATA: Final[Mapping[bytes, tuple[str, ...]]] = {
    PRICE_TOPIC: ("uint64", "bytes32", "bytes32", "uint256[]"),
    RISK_TOPIC: ("uint64", "bytes32", "bytes32", "bytes32", "uint256[]"),
}
_TOPICS: Final[Mapping[Kind, bytes]] = {"price": PRICE_TOPIC, "risk": RISK_TOPIC}
# Public endpoints refuse wide ranges; a search goes back from the head in steps of this many.
BLOCKS_A_PAGE: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEvent:
    """A batch's event: that it landed, under which hash, and which items did not."""

    kind: Kind
    contract: str
    round: int
    observed_at_ms: int
    message_hash: bytes
    evidence_hash: bytes
    model_hash: bytes | None
    skipped: tuple[SkippedItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedUpdate:
    """A batch as the chain has it: the whole message, its signatures, and where it stands."""

    event: BatchEvent
    message: PriceRound | RiskUpdate
    signatures: tuple[bytes, ...]
    sender: str
    tx_hash: bytes
    block_number: int
    block_timestamp_s: int


def batch_event(log: Log) -> BatchEvent | None:
    """Read a batch's event; None when the log is another event."""
    types = _DATA.get(log.topics[0]) if log.topics else None
    if types is None:
        return None
    try:
        observed, message_hash, *hashes, skipped = decode(types, log.data)
    except DecodingError as exc:
        raise BadAnswer(f"a batch's event cannot be decoded: {exc}") from exc
    return BatchEvent(
        kind="price" if len(hashes) == 1 else "risk",
        contract=log.address,
        round=int.from_bytes(log.topics[1], "big"),
        observed_at_ms=observed,
        message_hash=message_hash,
        evidence_hash=hashes[-1],
        model_hash=hashes[0] if len(hashes) == 2 else None,
        skipped=tuple(skipped_item(packed) for packed in skipped),
    )


def skipped_item(packed: int) -> SkippedItem:
    """Read `market << 16 | refusal`; a number of a later version keeps its number as its name."""
    code = packed & 0xFFFF
    known = code in {item.value for item in Refusal}
    name = Refusal(code).name if known else f"CODE_{code}"
    return SkippedItem(market=MarketId(packed >> 16), code=code, reason=name)


def event_of(receipt: Receipt, contract: str) -> BatchEvent | None:
    """Find a contract's batch event in a receipt."""
    events = (batch_event(log) for log in receipt.logs if log.address == contract)
    return next((event for event in events if event is not None), None)


async def posted_in(
    endpoint: ChainEndpoint, deployment: Deployment, tx_hash: bytes
) -> PostedUpdate | None:
    """Return the batch that a transaction posted; None when there is no such transaction yet.

    Raises
    ------
    ChainRefused
        The transaction posted nothing, or not by calling a contract of the deployment directly.
    """
    receipt = await endpoint.receipt(tx_hash)
    if receipt is None:
        return None
    contracts = (deployment.price_feed, deployment.risk_oracle)
    events = [event for contract in contracts if (event := event_of(receipt, contract))]
    if not events:
        raise ChainRefused(f"transaction 0x{tx_hash.hex()} posted nothing to these contracts")
    transaction, block = await endpoint.batch(
        [
            ("eth_getTransactionByHash", (hexed(tx_hash),)),
            ("eth_getBlockByNumber", (hexed(receipt.block_number), False)),
        ]
    )
    message, signatures = _calldata(transaction)
    return PostedUpdate(
        event=events[0],
        message=message,
        signatures=signatures,
        sender=checksummed(str(rpc.member(transaction, "from"))),
        tx_hash=tx_hash,
        block_number=receipt.block_number,
        block_timestamp_s=rpc.block_stamp(block).timestamp_s,
    )


async def posted_round(
    endpoint: ChainEndpoint, deployment: Deployment, kind: Kind, round_: int
) -> PostedUpdate | None:
    """Return the batch of a round, searched from the head backwards; None when there is none."""
    contract = deployment.price_feed if kind == "price" else deployment.risk_oracle
    head = await endpoint.block()
    for last in range(head.number, deployment.block_number - 1, -BLOCKS_A_PAGE):
        first = max(deployment.block_number, last - BLOCKS_A_PAGE + 1)
        logs = await endpoint.call(
            "eth_getLogs",
            {
                "address": contract,
                "topics": [hexed(_TOPICS[kind]), hexed(round_.to_bytes(32, "big"))],
                "fromBlock": hexed(first),
                "toBlock": hexed(last),
            },
        )
        if logs:
            found = rpc.data(rpc.member(logs[-1], "transactionHash"), 32)
            return await posted_in(endpoint, deployment, found)
    return None


def _calldata(transaction: Any) -> tuple[PriceRound | RiskUpdate, tuple[bytes, ...]]:  # noqa: ANN401
    try:
        return parse_calldata(rpc.data(rpc.member(transaction, "input")))
    except CalldataError as exc:
        raise ChainRefused(f"the batch was not posted by a direct call: {exc}") from exc
