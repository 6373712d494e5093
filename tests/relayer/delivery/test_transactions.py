"""Facts about hand-built transactions: the same bytes as the library's, signer and all."""

from __future__ import annotations

import coincurve
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from relayer.delivery.fees import Fees
from relayer.delivery.transactions import Transaction, sign
from relayer.signing.keys import Key

SECRET = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
KEY = Key(coincurve.PrivateKey(SECRET))


@given(
    chain_id=st.integers(1, 2**48),
    nonce=st.integers(0, 2**32),
    fee=st.integers(0, 10**12),
    gas=st.integers(21_000, 10**9),
    payload=st.binary(max_size=300),
)
@settings(max_examples=60, deadline=None)
def test_sign__any_transaction__equals_eth_accounts_bytes(
    chain_id: int, nonce: int, fee: int, gas: int, payload: bytes
) -> None:
    recipient = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
    ours = sign(
        Transaction(
            chain_id=chain_id,
            nonce=nonce,
            fees=Fees(max_fee_wei=fee + 7, priority_fee_wei=fee // 3),
            gas_limit=gas,
            recipient=recipient,
            payload=payload,
        ),
        KEY,
    )
    theirs = Account.sign_transaction(
        {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "maxFeePerGas": fee + 7,
            "maxPriorityFeePerGas": fee // 3,
            "gas": gas,
            "to": recipient,
            "value": 0,
            "data": payload,
        },
        SECRET,
    )
    assert ours.raw == bytes(theirs.raw_transaction)
    assert ours.tx_hash == bytes(theirs.hash)
