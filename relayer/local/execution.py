"""Executing without effect, as eth_call and eth_estimateGas do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eth.abc import BlockHeaderAPI, ComputationAPI
from eth.exceptions import Revert
from eth.vm.spoof import SpoofTransaction
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.exceptions import ValidationError

from relayer.local.chain import EmbeddedChain
from relayer.local.errors import SERVER_ERROR, RpcError

CALL_GAS: Final = 200_000_000  # MegaETH's limit of compute for one transaction
REVERTED: Final = 3
ERROR_STRING: Final = bytes.fromhex("08c379a0")  # selector of Error(string)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """What eth_call and eth_estimateGas execute."""

    sender: bytes
    to: bytes
    data: bytes
    value: int
    gas: int | None


class Executor:
    """Executes calls on the states of one chain; nothing that it does stays."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain

    def call(self, request: CallRequest, header: BlockHeaderAPI) -> bytes:
        """Execute on the state after a block, at that block's own time and number."""
        computation = self._execute(request, header, request.gas or CALL_GAS)
        _raise_failure(computation)
        return bytes(computation.output)

    def estimate_gas(self, request: CallRequest) -> int:
        """Find a gas limit with which the next block would execute this, at most 5 % too high."""
        header = self._chain.pending_header()
        limit = min(request.gas or CALL_GAS, CALL_GAS)
        computation = self._execute(request, header, limit)
        _raise_failure(computation)
        candidate = limit - computation.get_gas_remaining() + computation.data_floor_gas
        while candidate < limit:
            if not self._execute(request, header, candidate).is_error:
                return candidate
            candidate = candidate * 105 // 100 + 1  # refunds and the 63/64 rule need more than used
        return limit

    def _execute(self, request: CallRequest, header: BlockHeaderAPI, gas: int) -> ComputationAPI:
        """Execute in a copy of a header's state that is thrown away; gas costs nothing there."""
        machine = self._chain.machine(header)
        free = header.copy(base_fee_per_gas=0)
        hashes = machine.previous_hashes or ()
        state = machine.build_state(machine.chaindb.db, free, machine.chain_context, hashes)
        unsigned = machine.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
            chain_id=self._chain.chain_id,
            nonce=state.get_nonce(request.sender),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=gas,
            to=request.to,
            value=request.value,
            data=request.data,
            access_list=(),
        )
        try:
            spoofed = SpoofTransaction(unsigned, from_=request.sender)
            computation: ComputationAPI = state.apply_transaction(spoofed)
        except ValidationError as refused:
            raise RpcError(SERVER_ERROR, str(refused)) from None
        return computation


def _raise_failure(computation: ComputationAPI) -> None:
    """Answer a failed execution as a node does: a revert carries its data."""
    if not computation.is_error:
        return
    if isinstance(computation.error, Revert):
        output = bytes(computation.output)
        raise RpcError(REVERTED, "execution reverted" + _reason(output), "0x" + output.hex())
    name = type(computation.error).__name__
    raise RpcError(SERVER_ERROR, f"{_words(name)}: {computation.error}")


def _reason(output: bytes) -> str:
    """Give the words of Solidity's Error(string), which nodes put into the message."""
    if output[:4] != ERROR_STRING:
        return ""
    try:
        return f": {decode(['string'], output[4:])[0]}"
    except DecodingError:
        return ""


def _words(name: str) -> str:
    """Turn OutOfGas into `out of gas`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
