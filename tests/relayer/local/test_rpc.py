"""Unmodified web3 against the local world's chain, from another process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import BlockNotFound, ContractCustomError, ContractLogicError, Web3RPCError
from web3.types import RPCEndpoint

from relayer.local.accounts import local_accounts, local_key
from relayer.local.state import WorldState
from tests.relayer.local.test_chain import ECHO_REVERT

pytestmark = pytest.mark.loopback

# CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY PUSH1 42 CALLDATASIZE PUSH0 LOG1 STOP, and its deployment
ECHO_LOG = bytes.fromhex("69365f5f37602a365fa1005f52600a6016f3")
ERROR_STRING = (
    bytes.fromhex("08c379a0") + (32).to_bytes(32) + (2).to_bytes(32) + b"no".ljust(32, b"\0")
)
REFUSED = keccak(text="Refused(uint256)")[:4] + (7).to_bytes(32)
DEPLOYER = next(a.address for a in local_accounts() if a.role == "deployer")


@pytest.fixture
async def w3(world: WorldState) -> AsyncIterator[AsyncWeb3]:
    web3 = AsyncWeb3(AsyncHTTPProvider(world.rpc_url))
    yield web3
    await web3.provider.disconnect()


async def _raw(w3: AsyncWeb3, **fields: Any) -> bytes:
    transaction = {
        "type": 2,
        "chainId": await w3.eth.chain_id,
        "nonce": await w3.eth.get_transaction_count(DEPLOYER, "pending"),
        "value": 0,
        "gas": 300_000,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 0,
        "data": b"",
        **fields,
    }
    signed = Account.from_key(local_key("deployer")).sign_transaction(transaction)
    return bytes(signed.raw_transaction)


async def _deploy(w3: AsyncWeb3, code: bytes) -> str:
    sent = await w3.eth.send_raw_transaction(await _raw(w3, data=code))
    receipt = await w3.eth.wait_for_transaction_receipt(sent)
    address = receipt["contractAddress"]
    assert address is not None
    return str(address)


async def test_chain__facts__agree_with_the_state_file(w3: AsyncWeb3, world: WorldState) -> None:
    assert await w3.eth.chain_id == world.chain_id
    assert (await w3.eth.get_block(0))["hash"].to_0x_hex() == world.genesis_hash
    assert await w3.eth.get_balance(DEPLOYER) > 10**20
    assert "eth-tester" in await w3.client_version
    assert await w3.net.version == str(world.chain_id)


async def test_block__by_number_hash_and_tag__the_same(w3: AsyncWeb3) -> None:
    await w3.eth.send_raw_transaction(await _raw(w3, to=DEPLOYER))
    latest = await w3.eth.get_block("latest")
    assert await w3.eth.get_block(latest["number"]) == latest
    assert await w3.eth.get_block(latest["hash"]) == latest
    full = await w3.eth.get_block(latest["number"], full_transactions=True)
    assert full["transactions"][0]["hash"] == latest["transactions"][0]
    assert len(latest["logsBloom"]) == 256


async def test_block__not_there_yet__block_not_found(w3: AsyncWeb3) -> None:
    with pytest.raises(BlockNotFound):
        await w3.eth.get_block(10_000_000)


async def test_call__custom_error__decoded_with_its_data(w3: AsyncWeb3) -> None:
    address = await _deploy(w3, ECHO_REVERT)
    with pytest.raises(ContractCustomError) as refused:
        await w3.eth.call({"to": address, "data": REFUSED})
    assert refused.value.data == "0x" + REFUSED.hex()


async def test_call__error_string__decoded_with_its_words(w3: AsyncWeb3) -> None:
    address = await _deploy(w3, ECHO_REVERT)
    with pytest.raises(ContractLogicError, match="execution reverted: no"):
        await w3.eth.call({"to": address, "data": ERROR_STRING})


async def test_estimate_gas__reverts__the_same_error(w3: AsyncWeb3) -> None:
    address = await _deploy(w3, ECHO_REVERT)
    with pytest.raises(ContractCustomError):
        await w3.eth.estimate_gas({"to": address, "data": REFUSED, "from": DEPLOYER})


async def test_send__reverts_on_chain__mined_with_status_0(w3: AsyncWeb3) -> None:
    address = await _deploy(w3, ECHO_REVERT)
    sent = await w3.eth.send_raw_transaction(await _raw(w3, to=address, data=REFUSED))
    assert (await w3.eth.get_transaction_receipt(sent))["status"] == 0


async def test_send__bad_nonce__rpc_error_in_a_node_s_words(w3: AsyncWeb3) -> None:
    with pytest.raises(Web3RPCError, match="nonce too low"):
        await w3.eth.send_raw_transaction(await _raw(w3, nonce=0, to=DEPLOYER))
    with pytest.raises(Web3RPCError, match="nonce too high"):
        await w3.eth.send_raw_transaction(await _raw(w3, nonce=99_999, to=DEPLOYER))


async def test_send_sync__one_call__answers_the_receipt(w3: AsyncWeb3) -> None:
    raw = "0x" + (await _raw(w3, to=DEPLOYER)).hex()
    answer = await w3.provider.make_request(RPCEndpoint("eth_sendRawTransactionSync"), [raw])
    receipt = answer["result"]
    assert receipt["status"] == "0x1"
    assert receipt["blockHash"] is not None
    stored = await w3.eth.get_transaction_receipt(receipt["transactionHash"])
    assert stored["blockNumber"] == int(receipt["blockNumber"], 16)


async def test_transaction__by_hash__its_input_comes_back(w3: AsyncWeb3) -> None:
    address = await _deploy(w3, ECHO_LOG)
    sent = await w3.eth.send_raw_transaction(await _raw(w3, to=address, data=b"\xca\xfe"))
    found = await w3.eth.get_transaction(sent)
    assert bytes(found["input"]) == b"\xca\xfe"
    assert found["to"] == address
    assert found["from"] == DEPLOYER


async def test_logs__by_address_topic_and_range__found(w3: AsyncWeb3) -> None:
    address = await _deploy(w3, ECHO_LOG)
    sent = await w3.eth.send_raw_transaction(await _raw(w3, to=address, data=b"\xca\xfe"))
    block = (await w3.eth.get_transaction_receipt(sent))["blockNumber"]
    topic = "0x" + (42).to_bytes(32).hex()
    wanted = {"address": address, "topics": [topic], "fromBlock": block, "toBlock": "latest"}
    logs = await w3.eth.get_logs(wanted)
    assert [bytes(log["data"]) for log in logs] == [b"\xca\xfe"]
    assert logs[0]["transactionHash"] == sent
    assert await w3.eth.get_logs({**wanted, "topics": ["0x" + "11" * 32]}) == []
    assert await w3.eth.get_logs({**wanted, "fromBlock": block + 1_000}) == []
    assert await w3.eth.get_logs({**wanted, "toBlock": block - 1, "fromBlock": 0}) == []


async def test_state__pinned_to_a_block__is_of_that_block(w3: AsyncWeb3) -> None:
    before = await w3.eth.get_block("latest")
    count = await w3.eth.get_transaction_count(DEPLOYER)
    await w3.eth.send_raw_transaction(await _raw(w3, to=DEPLOYER))
    assert await w3.eth.get_transaction_count(DEPLOYER, before["number"]) == count
    assert await w3.eth.get_transaction_count(DEPLOYER, before["hash"]) == count
    assert await w3.eth.get_transaction_count(DEPLOYER) == count + 1


async def test_code_and_storage__of_a_contract(w3: AsyncWeb3) -> None:
    address = await _deploy(w3, ECHO_REVERT)
    assert bytes(await w3.eth.get_code(address)).hex() == "365f5f37365ffd"
    assert bytes(await w3.eth.get_storage_at(address, 0)) == bytes(32)


async def test_fees__history_and_price__usable(w3: AsyncWeb3) -> None:
    await w3.eth.get_block("latest")
    history = await w3.eth.fee_history(2, "latest", [50])
    assert len(history["baseFeePerGas"]) == len(history["gasUsedRatio"]) + 1
    assert await w3.eth.max_priority_fee == 0
    assert await w3.eth.gas_price == (await w3.eth.fee_history(1, "latest"))["baseFeePerGas"][-1]


async def test_contract__too_large__refused_as_on_a_real_chain(w3: AsyncWeb3) -> None:
    too_large = bytes.fromhex("6160015ff3")  # returns 24,577 zero bytes
    sent = await w3.eth.send_raw_transaction(await _raw(w3, data=too_large, gas=20_000_000))
    assert (await w3.eth.get_transaction_receipt(sent))["status"] == 0


async def _post(url: str, body: Any) -> Any:
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
        return await answer.json()


async def test_batch__answers_in_order(world: WorldState) -> None:
    batch = (
        '[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"x"}]'
    )
    first, second = await _post(world.rpc_url, batch)
    assert (first["id"], int(first["result"], 16)) == (1, world.chain_id)
    assert (second["id"], second["error"]["code"]) == (2, -32601)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", -32700),
        ("[]", -32600),
        ('{"id":1}', -32600),
        ('{"id":1,"method":"eth_getBalance","params":["0x12"]}', -32602),
        ('{"id":1,"method":"eth_getBalance","params":[]}', -32600),
        ('{"id":1,"method":"eth_call","params":["0x12"]}', -32600),
        ('{"id":1,"method":"eth_sendRawTransaction","params":["0x02c0"]}', -32000),
        ('{"id":1,"method":"eth_subscribe","params":["newHeads"]}', -32601),
    ],
)
async def test_bad_request__answered_with_its_code(world: WorldState, body: str, code: int) -> None:
    assert (await _post(world.rpc_url, body))["error"]["code"] == code
