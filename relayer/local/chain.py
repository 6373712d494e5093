"""The embedded chain: eth-tester's py-evm, one block a transaction, stamped by the world's clock.

Stamps: a transaction's block is stamped with the clock's second, rounded up, and at least one more
than its parent's; the clock moves on to it. Before a read of the head, an empty block brings it to
the clock's second (rounded down), so that the head is never a second old, as on a live chain.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth.abc import (
    BlockAPI,
    BlockHeaderAPI,
    MiningChainAPI,
    SignedTransactionAPI,
    StateAPI,
)
from eth.exceptions import HeaderNotFound, PyEVMError, TransactionNotFound, VMError
from eth_keys.exceptions import BadSignature
from eth_tester.backends.pyevm.main import PyEVMBackend
from eth_tester.backends.pyevm.serializers import (
    serialize_block,
    serialize_transaction,
    serialize_transaction_receipt,
)
from eth_typing import BlockNumber, Hash32
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from contracts.units import seconds_ceil, seconds_floor
from relayer.local.accounts import BALANCE_WEI, canonical_addresses
from relayer.local.clock import WorldClock
from relayer.local.errors import SERVER_ERROR, RpcError
from relayer.local.pool_rules import BLOCK_GAS_LIMIT, check_transaction

GENESIS_AGE_S: Final = 60  # the genesis lies this long before the clock's origin
_COINBASE: Final = b"\x00" * 20
# everything that py-evm, rlp and eth-keys raise over bytes that are no signed transaction
_UNREADABLE: Final = (
    PyEVMError,
    RLPException,
    BadSignature,
    ValidationError,
    ValueError,
    IndexError,
    TypeError,
)

Fields = dict[str, Any]  # eth-tester's own serialised form: snake case, ints and bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """What eth_getLogs asks for; an empty tuple allows everything."""

    first_block: int
    last_block: int
    addresses: tuple[bytes, ...]
    topics: tuple[tuple[bytes, ...], ...]


class EmbeddedChain:
    """One canonical chain without reorganisations; raises RpcError as a node would answer."""

    def __init__(self, clock: WorldClock) -> None:
        self._clock = clock
        genesis = PyEVMBackend.generate_genesis_params(
            overrides={
                "gas_limit": BLOCK_GAS_LIMIT,
                "timestamp": seconds_floor(clock.now_ms()) - GENESIS_AGE_S,
            }
        )
        account = {"balance": BALANCE_WEI, "storage": {}, "code": b"", "nonce": 0}
        state = {address: dict(account) for address in canonical_addresses()}
        self._chain: MiningChainAPI = PyEVMBackend(
            genesis_parameters=genesis, genesis_state=state
        ).chain
        self._logs: list[Fields] = []
        self._log_blocks: list[int] = []  # block number of each log, ascending

    @property
    def chain_id(self) -> int:
        """Give the chain's id, which eth-tester fixes."""
        return int(self._chain.chain_id)

    @property
    def genesis_hash(self) -> bytes:
        """Give what tells this chain from an earlier one in the same folder."""
        return bytes(self._chain.get_canonical_block_by_number(BlockNumber(0)).hash)

    # --- the head -----------------------------------------------------------------------------

    def head(self) -> BlockHeaderAPI:
        """Give the newest header, at most a second older than the clock."""
        now_s = seconds_floor(self._clock.now_ms())
        if now_s > self._chain.get_canonical_head().timestamp:
            self._mine(now_s)
        return self._chain.get_canonical_head()

    def base_fee(self) -> int:
        """Give the base fee that the next block will ask."""
        self.head()
        return int(self._chain.header.base_fee_per_gas or 0)

    def header(self, number: int) -> BlockHeaderAPI:
        """Find a header by its number."""
        try:
            return self._chain.get_canonical_block_header_by_number(BlockNumber(number))
        except HeaderNotFound:
            raise RpcError(SERVER_ERROR, "header not found") from None

    def header_by_hash(self, block_hash: bytes) -> BlockHeaderAPI | None:
        """Find a header by its hash."""
        try:
            return self._chain.get_block_header_by_hash(Hash32(block_hash))
        except HeaderNotFound:
            return None

    def block(self, header: BlockHeaderAPI, *, full: bool) -> Fields:
        """Give a block's fields, with its transactions or only their hashes."""
        block = self._chain.get_block_by_header(header)
        return dict(serialize_block(block, full, is_pending=False))

    def state(self, header: BlockHeaderAPI) -> StateAPI:
        """Give the state after a block."""
        return self._chain.get_vm(header).state

    def pending_header(self) -> BlockHeaderAPI:
        """Give the header that the next transaction's block would have."""
        head = self._chain.get_canonical_head()
        return self._chain.header.copy(timestamp=self._next_stamp(), state_root=head.state_root)

    def machine(self, header: BlockHeaderAPI) -> Any:  # noqa: ANN401 -- py-evm's interfaces say less than its classes do
        """Give py-evm's virtual machine at a header."""
        return self._chain.get_vm(header)

    # --- transactions -------------------------------------------------------------------------

    def send_raw(self, raw: bytes) -> bytes:
        """Mine a signed transaction in a block of its own and give its hash."""
        transaction = self._decode(raw)
        state = self.state(self._chain.get_canonical_head())
        check_transaction(
            transaction, state, self.chain_id, int(self._chain.header.base_fee_per_gas or 0)
        )
        self._chain.set_header_timestamp(self._next_stamp())
        try:
            self._chain.apply_transaction(transaction)
        except (ValidationError, VMError) as refused:
            raise RpcError(SERVER_ERROR, str(refused)) from None
        block = self._mine(self._chain.header.timestamp)
        self._clock.advance_to(block.header.timestamp * 1_000)
        self._index(block)
        return bytes(transaction.hash)

    def transaction(self, transaction_hash: bytes) -> Fields | None:
        """Find a transaction by its hash."""
        found = self._find(transaction_hash)
        if found is None:
            return None
        block, index = found
        return dict(
            serialize_transaction(block, block.transactions[index], index, is_pending=False)
        )

    def receipt(self, transaction_hash: bytes) -> Fields | None:
        """Find a transaction's receipt."""
        found = self._find(transaction_hash)
        return None if found is None else self._receipt(*found)

    def logs(self, wanted: LogFilter) -> list[Fields]:
        """List the logs of a range of blocks, in order."""
        first = bisect_left(self._log_blocks, wanted.first_block)
        last = bisect_left(self._log_blocks, wanted.last_block + 1)
        return [log for log in self._logs[first:last] if _matches(log, wanted)]

    def _decode(self, raw: bytes) -> SignedTransactionAPI:
        """Read a signed transaction."""
        try:
            transaction = self._chain.get_vm().get_transaction_builder().decode(raw)
            transaction.validate()
            transaction.check_signature_validity()
        except _UNREADABLE as fault:
            raise RpcError(SERVER_ERROR, f"invalid transaction: {fault}") from None
        return transaction

    def _next_stamp(self) -> int:
        """Give the stamp of a block made now."""
        parent = self._chain.get_canonical_head().timestamp
        return max(parent + 1, seconds_ceil(self._clock.now_ms()))

    def _mine(self, stamp_s: int) -> BlockAPI:
        """Close the block in progress with a stamp."""
        self._chain.set_header_timestamp(stamp_s)
        number = self._chain.header.block_number
        return self._chain.mine_block(
            coinbase=_COINBASE, mix_hash=keccak(number.to_bytes(8)), blob_gas_used=0
        )

    def _find(self, transaction_hash: bytes) -> tuple[BlockAPI, int] | None:
        """Find a transaction's block and place."""
        try:
            number, index = self._chain.chaindb.get_transaction_index(Hash32(transaction_hash))
        except TransactionNotFound:
            return None
        return self._chain.get_canonical_block_by_number(number), index

    def _receipt(self, block: BlockAPI, index: int) -> Fields:
        """Give a receipt's fields."""
        receipts = block.get_receipts(self._chain.chaindb)
        vm = self._chain.get_vm(block.header)
        transaction = block.transactions[index]
        return dict(
            serialize_transaction_receipt(
                block, receipts, transaction, index, is_pending=False, vm=vm
            )
        )

    def _index(self, block: BlockAPI) -> None:
        """Remember a mined block's logs, so that they are found without it."""
        logs = self._receipt(block, len(block.transactions) - 1)["logs"]
        self._logs.extend(logs)
        self._log_blocks.extend([block.number] * len(logs))


def _matches(log: Mapping[str, Any], wanted: LogFilter) -> bool:
    """Tell whether a log has one of the addresses and the topics at their places."""
    if wanted.addresses and log["address"] not in wanted.addresses:
        return False
    topics: Sequence[bytes] = log["topics"]
    if len(topics) < len(wanted.topics):
        return False
    pairs = zip(wanted.topics, topics[: len(wanted.topics)], strict=True)
    return all(not allowed or topic in allowed for allowed, topic in pairs)
