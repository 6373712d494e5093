"""JSON-RPC over the embedded chain: the methods that web3 and a relayer use, and their errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from eth.abc import BlockHeaderAPI
from eth.exceptions import PyEVMError
from eth_utils.exceptions import ValidationError

from relayer.local.chain import EmbeddedChain, Fields, LogFilter
from relayer.local.errors import SERVER_ERROR, RpcError
from relayer.local.execution import CallRequest, Executor
from relayer.local.hexes import (
    Json,
    as_address,
    as_bytes,
    as_number,
    hex_bytes,
    hex_number,
    rpc_fields,
    rpc_log,
    rpc_receipt,
    rpc_transaction,
)
from relayer.local.pool_rules import BLOCK_GAS_LIMIT

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INTERNAL_ERROR: Final = -32603
CLIENT_VERSION: Final = "AutonomousMarginLayer/local/eth-tester"
_HEAD_TAGS: Final = ("latest", "safe", "finalized", "pending")

# what a request that nobody foresaw makes py-evm raise: answered as a node would, and logged
_FAULTS: Final = (
    PyEVMError,
    ValidationError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

Parameters = Sequence[Json]
_LOG: Final = logging.getLogger(__name__)


class RpcServer:
    """Answers JSON-RPC requests, single or in batches, from one embedded chain."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain
        self._executor = Executor(chain)
        self._methods: Mapping[str, Callable[[Parameters], Json]] = {
            "web3_clientVersion": lambda _: CLIENT_VERSION,
            "net_version": lambda _: str(chain.chain_id),
            "eth_chainId": lambda _: hex_number(chain.chain_id),
            "eth_accounts": lambda _: [],
            "eth_syncing": lambda _: False,
            "eth_blockNumber": lambda _: hex_number(chain.head().block_number),
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_gasPrice": lambda _: hex_number(chain.base_fee()),
            "eth_maxPriorityFeePerGas": lambda _: hex_number(0),
            "eth_feeHistory": self._fee_history,
            "eth_getBalance": self._balance,
            "eth_getTransactionCount": self._transaction_count,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage_at,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_sendRawTransaction": self._send_raw,
            "eth_sendRawTransactionSync": self._send_raw_sync,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getLogs": self._logs,
        }

    def answer(self, body: bytes) -> Json:
        """Answer one HTTP body: a request, or a batch of them in their order."""
        try:
            asked = json.loads(body)
        except ValueError:
            return _error(None, RpcError(PARSE_ERROR, "parse error"))
        if isinstance(asked, list) and asked:
            return [self._one(request) for request in asked]
        return self._one(asked)

    def _one(self, request: Json) -> Json:
        """Answer one request; the reference of every fault inside is logged, not answered."""
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error(None, RpcError(INVALID_REQUEST, "invalid request"))
        name, asked_id = request["method"], request.get("id")
        method = self._methods.get(name)
        parameters = request.get("params") or []
        if method is None:
            message = f"the method {name} does not exist/is not available"
            return _error(asked_id, RpcError(METHOD_NOT_FOUND, message))
        if not isinstance(parameters, list):
            return _error(asked_id, RpcError(INVALID_REQUEST, "params must be a list"))
        try:
            return {"jsonrpc": "2.0", "id": asked_id, "result": method(parameters)}
        except RpcError as refused:
            return _error(asked_id, refused)
        except IndexError:
            return _error(asked_id, RpcError(INVALID_REQUEST, "missing value for a parameter"))
        except _FAULTS:
            _LOG.exception("rpc_failed method=%s", name)
            return _error(asked_id, RpcError(INTERNAL_ERROR, f"internal error in {name}"))

    # --- blocks and state ---------------------------------------------------------------------

    def _header(self, parameters: Parameters, place: int) -> BlockHeaderAPI:
        """Find the block that a parameter names: a tag, a number, a hash, or EIP-1898's object."""
        name = parameters[place] if len(parameters) > place else "latest"
        if isinstance(name, dict):
            name = name.get("blockHash") or name.get("blockNumber")
        if name in _HEAD_TAGS:
            return self._chain.head()
        if name == "earliest":
            return self._chain.header(0)
        if isinstance(name, str) and len(name) == 66:
            found = self._chain.header_by_hash(as_bytes(name))
            if found is None:
                raise RpcError(SERVER_ERROR, "header not found")
            return found
        return self._chain.header(as_number(name))

    def _block_by_number(self, parameters: Parameters) -> Json:
        """Give a block, or null for one that does not exist yet."""
        try:
            header = self._header(parameters, 0)
        except RpcError as refused:
            if refused.code != SERVER_ERROR:
                raise
            return None
        return self._block(header, full=parameters[1:2] == [True])

    def _block_by_hash(self, parameters: Parameters) -> Json:
        """Give a block, or null for a hash that is none."""
        header = self._chain.header_by_hash(as_bytes(parameters[0]))
        return None if header is None else self._block(header, full=parameters[1:2] == [True])

    def _block(self, header: BlockHeaderAPI, *, full: bool) -> Json:
        """Give a block's fields as a node writes them."""
        fields = self._chain.block(header, full=full)
        transactions = fields.pop("transactions")
        fields["miner"] = fields.pop("coinbase")
        fields["logs_bloom"] = fields["logs_bloom"].to_bytes(256)
        write = rpc_transaction if full else hex_bytes
        return {**rpc_fields(fields), "transactions": [write(each) for each in transactions]}

    def _balance(self, parameters: Parameters) -> Json:
        state = self._chain.state(self._header(parameters, 1))
        return hex_number(state.get_balance(as_address(parameters[0])))

    def _transaction_count(self, parameters: Parameters) -> Json:
        state = self._chain.state(self._header(parameters, 1))
        return hex_number(state.get_nonce(as_address(parameters[0])))

    def _code(self, parameters: Parameters) -> Json:
        state = self._chain.state(self._header(parameters, 1))
        return hex_bytes(state.get_code(as_address(parameters[0])))

    def _storage_at(self, parameters: Parameters) -> Json:
        state = self._chain.state(self._header(parameters, 2))
        word = state.get_storage(as_address(parameters[0]), as_number(parameters[1]))
        return hex_bytes(word.to_bytes(32))

    def _fee_history(self, parameters: Parameters) -> Json:
        """Give base fees and fullness; rewards are 0, as no transaction has to bid."""
        newest = self._header(parameters, 1)
        count = max(1, min(as_number(parameters[0]), 1_024, newest.block_number + 1))
        percentiles = parameters[2] if len(parameters) > 2 else None
        oldest = newest.block_number - count + 1
        headers = [self._chain.header(oldest + step) for step in range(count)]
        fees = [hex_number(header.base_fee_per_gas or 0) for header in headers]
        answer: dict[str, Json] = {
            "oldestBlock": hex_number(oldest),
            "baseFeePerGas": [*fees, hex_number(self._fee_after(newest))],
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
        }
        if isinstance(percentiles, list):
            answer["reward"] = [[hex_number(0)] * len(percentiles)] * count
        return answer

    def _fee_after(self, header: BlockHeaderAPI) -> int:
        """Give the base fee of the block after another."""
        if header == self._chain.head():
            return self._chain.base_fee()
        return self._chain.header(header.block_number + 1).base_fee_per_gas or 0

    # --- execution ----------------------------------------------------------------------------

    def _call(self, parameters: Parameters) -> Json:
        header = self._header(parameters, 1)
        return hex_bytes(self._executor.call(_call_request(parameters[0]), header))

    def _estimate_gas(self, parameters: Parameters) -> Json:
        self._chain.head()
        return hex_number(self._executor.estimate_gas(_call_request(parameters[0])))

    def _send_raw(self, parameters: Parameters) -> Json:
        return hex_bytes(self._chain.send_raw(as_bytes(parameters[0])))

    def _send_raw_sync(self, parameters: Parameters) -> Json:
        """EIP-7966: send, and answer with the receipt; the time limit is never reached here."""
        receipt = self._chain.receipt(self._chain.send_raw(as_bytes(parameters[0])))
        return None if receipt is None else rpc_receipt(receipt)

    def _transaction(self, parameters: Parameters) -> Json:
        found = self._chain.transaction(as_bytes(parameters[0]))
        return None if found is None else rpc_transaction(found)

    def _receipt(self, parameters: Parameters) -> Json:
        found = self._chain.receipt(as_bytes(parameters[0]))
        return None if found is None else rpc_receipt(found)

    def _logs(self, parameters: Parameters) -> Json:
        asked = parameters[0]
        if not isinstance(asked, dict):
            raise RpcError(INVALID_REQUEST, "the filter must be an object")
        if "blockHash" in asked:
            first = last = int(self._header([asked["blockHash"]], 0).block_number)
        else:
            first = self._block_number(asked.get("fromBlock") or "latest")
            last = self._block_number(asked.get("toBlock") or "latest")
        wanted = LogFilter(
            first_block=first,
            last_block=last,
            addresses=tuple(as_address(each) for each in _list(asked.get("address"))),
            topics=tuple(
                tuple(as_bytes(each) for each in _list(place))
                for place in asked.get("topics") or []
            ),
        )
        return [rpc_log(log) for log in self._chain.logs(wanted)]

    def _block_number(self, name: Json) -> int:
        """Resolve an end of a range, which may lie past the head."""
        if isinstance(name, str) and name.startswith("0x") and len(name) < 66:
            return as_number(name)
        return int(self._header([name], 0).block_number)


def _call_request(asked: Json) -> CallRequest:
    """Read a call's fields; `input` and `data` mean the same."""
    if not isinstance(asked, dict):
        raise RpcError(INVALID_REQUEST, "the call must be an object")
    gas = asked.get("gas")
    return CallRequest(
        sender=as_address(asked.get("from") or "0x" + "00" * 20),
        to=as_address(asked["to"]) if asked.get("to") else b"",
        data=as_bytes(asked.get("input") or asked.get("data") or "0x"),
        value=as_number(asked.get("value") or "0x0"),
        gas=None if gas is None else min(as_number(gas), BLOCK_GAS_LIMIT),
    )


def _list(value: Json) -> list[Json]:
    """Read what may be one value, several or none."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _error(asked_id: Json, refused: RpcError) -> Fields:
    """Write a JSON-RPC error."""
    error: dict[str, Json] = {"code": refused.code, "message": refused.message}
    if refused.data is not None:
        error["data"] = refused.data
    return {"jsonrpc": "2.0", "id": asked_id, "error": error}
