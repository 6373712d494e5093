"""The embedded chain: block stamps are the clock's, strictly increase, and move the clock on."""

from __future__ import annotations

import pytest
from eth_account import Account

from relayer.local.accounts import ROLES, local_accounts, local_key
from relayer.local.chain import EmbeddedChain
from relayer.local.clock import WorldClock
from relayer.local.errors import RpcError
from relayer.local.execution import CallRequest, Executor

ORIGIN_MS = 1_747_073_880_400
KEEPER = next(account.address for account in local_accounts() if account.role == "keeper")
# CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY CALLDATASIZE PUSH0 REVERT, and its deployment
ECHO_REVERT = bytes.fromhex("66365f5f37365ffd5f5260076019f3")
# TIMESTAMP PUSH0 MSTORE PUSH1 32 PUSH0 RETURN, and its deployment
TELL_TIME = bytes.fromhex("66425f5260205ff35f5260076019f3")


@pytest.fixture
def clock() -> WorldClock:
    return WorldClock(origin_ms=ORIGIN_MS, ends_ms=ORIGIN_MS, speed=0.0)


@pytest.fixture
def chain(clock: WorldClock) -> EmbeddedChain:
    return EmbeddedChain(clock)


def raw(chain: EmbeddedChain, nonce: int, **fields: object) -> bytes:
    """Sign a transfer of nothing, or whatever the fields make of it."""
    transaction = {
        "type": 2,
        "chainId": chain.chain_id,
        "nonce": nonce,
        "to": KEEPER,
        "value": 0,
        "gas": 200_000,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 0,
        "data": b"",
        **fields,
    }
    kept = {name: value for name, value in transaction.items() if value is not None}
    signed = Account.from_key(local_key("deployer")).sign_transaction(kept)
    return bytes(signed.raw_transaction)


def _stamp_of(chain: EmbeddedChain, transaction_hash: bytes) -> int:
    receipt = chain.receipt(transaction_hash)
    assert receipt is not None
    return int(chain.header(receipt["block_number"]).timestamp)


def test_accounts__every_role__own_funded_address(chain: EmbeddedChain) -> None:
    addresses = {account.address for account in local_accounts()}
    assert len(addresses) == len(ROLES)
    state = chain.state(chain.head())
    assert all(state.get_balance(bytes.fromhex(a[2:])) > 0 for a in addresses)


def test_send__block_stamp__clock_rounded_up_and_clock_follows(
    chain: EmbeddedChain, clock: WorldClock
) -> None:
    sent = chain.send_raw(raw(chain, 0))
    assert _stamp_of(chain, sent) == 1_747_073_881
    assert clock.now_ms() == 1_747_073_881_000


def test_send__many_at_one_instant__stamps_strictly_increase(
    chain: EmbeddedChain, clock: WorldClock
) -> None:
    stamps = [_stamp_of(chain, chain.send_raw(raw(chain, nonce))) for nonce in range(4)]
    assert stamps == [1_747_073_881, 1_747_073_882, 1_747_073_883, 1_747_073_884]
    assert clock.now_ms() == 1_747_073_884_000


def test_head__clock_has_moved_on__never_a_second_old(
    chain: EmbeddedChain, clock: WorldClock
) -> None:
    first = chain.head()
    clock.advance_to(ORIGIN_MS + 3_600_000)
    second = chain.head()
    assert first.timestamp == 1_747_073_880
    assert second.timestamp == 1_747_073_880 + 3_600
    assert second.block_number == first.block_number + 1
    assert clock.now_ms() == ORIGIN_MS + 3_600_000


def test_head__clock_stands__same_block(chain: EmbeddedChain) -> None:
    assert chain.head() == chain.head()


def test_call__pinned_block__sees_that_block_s_time(
    chain: EmbeddedChain, clock: WorldClock
) -> None:
    receipt = chain.receipt(chain.send_raw(raw(chain, 0, to=None, data=TELL_TIME)))
    assert receipt is not None
    pinned = chain.head()
    clock.advance_to(ORIGIN_MS + 60_000)
    chain.head()
    request = CallRequest(
        sender=b"\0" * 20, to=receipt["contract_address"], data=b"", value=0, gas=None
    )
    assert int.from_bytes(Executor(chain).call(request, pinned)) == pinned.timestamp


def test_call__reverts__data_is_carried(chain: EmbeddedChain) -> None:
    receipt = chain.receipt(chain.send_raw(raw(chain, 0, to=None, data=ECHO_REVERT)))
    assert receipt is not None
    request = CallRequest(
        sender=b"\0" * 20, to=receipt["contract_address"], data=b"\x12\x34", value=0, gas=None
    )
    with pytest.raises(RpcError) as refused:
        Executor(chain).call(request, chain.head())
    assert (refused.value.code, refused.value.data) == (3, "0x1234")


def test_estimate__enough_and_at_most_five_percent_more(chain: EmbeddedChain) -> None:
    address = bytes.fromhex(local_accounts()[0].address[2:])
    request = CallRequest(sender=address, to=b"", data=TELL_TIME, value=0, gas=None)
    estimate = Executor(chain).estimate_gas(request)
    receipt = chain.receipt(chain.send_raw(raw(chain, 0, to=None, data=TELL_TIME, gas=estimate)))
    assert receipt is not None
    assert receipt["status"] == 1
    assert receipt["gas_used"] <= estimate <= receipt["gas_used"] * 1.06


@pytest.mark.parametrize(
    ("nonce", "fields", "said"),
    [
        (5, {}, "nonce too high: next nonce 0, tx nonce 5"),
        (0, {"gas": 20_000}, "intrinsic gas too low"),
        (0, {"gas": 2_000_000_000}, "exceeds block gas limit"),
        (0, {"maxFeePerGas": 1}, "max fee per gas less than block base fee"),
        (0, {"value": 2_000_000 * 10**18}, "insufficient funds for gas"),
        (0, {"chainId": 1}, "invalid chain id for signer: have 1"),
    ],
)
def test_send__refused__as_a_node_says_it(
    chain: EmbeddedChain, nonce: int, fields: dict[str, object], said: str
) -> None:
    with pytest.raises(RpcError, match=said) as refused:
        chain.send_raw(raw(chain, nonce, **fields))
    assert refused.value.code == -32000


def test_send__twice__nonce_too_low(chain: EmbeddedChain) -> None:
    chain.send_raw(raw(chain, 0))
    with pytest.raises(RpcError, match="nonce too low: next nonce 1, tx nonce 0"):
        chain.send_raw(raw(chain, 0))


@pytest.mark.parametrize("garbage", [b"", b"\x02", b"\x02\xc0", b"\xff" * 40, b"abc", b"\xc0"])
def test_send__garbage__refused(chain: EmbeddedChain, garbage: bytes) -> None:
    with pytest.raises(RpcError, match="invalid transaction"):
        chain.send_raw(garbage)


def test_send__refused__leaves_the_chain_as_it_was(chain: EmbeddedChain, clock: WorldClock) -> None:
    before = chain.head().block_number
    with pytest.raises(RpcError):
        chain.send_raw(raw(chain, 9))
    assert chain.head().block_number == before
    assert chain.receipt(chain.send_raw(raw(chain, 0))) is not None


def test_transaction__unknown__none(chain: EmbeddedChain) -> None:
    assert chain.transaction(b"\1" * 32) is None
    assert chain.receipt(b"\1" * 32) is None
