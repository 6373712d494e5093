"""What a node's pool refuses before it executes anything, in the words of geth."""

from __future__ import annotations

from typing import Final

from eth.abc import SignedTransactionAPI, StateAPI

from relayer.local.errors import SERVER_ERROR, RpcError

BLOCK_GAS_LIMIT: Final = 1_000_000_000  # updates of hundreds of markets fit in one block


def check_transaction(
    transaction: SignedTransactionAPI, state: StateAPI, chain_id: int, base_fee: int
) -> None:
    """Raise RpcError for a transaction that the next block cannot take."""
    if transaction.chain_id not in {None, chain_id}:
        have = transaction.chain_id
        raise RpcError(SERVER_ERROR, f"invalid chain id for signer: have {have} want {chain_id}")
    expected, nonce = state.get_nonce(transaction.sender), transaction.nonce
    if nonce != expected:
        word = "low" if nonce < expected else "high"
        message = f"nonce too {word}: next nonce {expected}, tx nonce {nonce}"
        raise RpcError(SERVER_ERROR, message)
    if transaction.gas > BLOCK_GAS_LIMIT:
        raise RpcError(SERVER_ERROR, "exceeds block gas limit")
    if transaction.gas < transaction.intrinsic_gas:
        needed = transaction.intrinsic_gas
        message = f"intrinsic gas too low: gas {transaction.gas}, minimum needed {needed}"
        raise RpcError(SERVER_ERROR, message)
    if transaction.max_fee_per_gas < base_fee:
        detail = f"maxFeePerGas: {transaction.max_fee_per_gas}, baseFee: {base_fee}"
        raise RpcError(SERVER_ERROR, f"max fee per gas less than block base fee: {detail}")
    cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
    balance = state.get_balance(transaction.sender)
    if balance < cost:
        detail = f"balance {balance}, tx cost {cost}"
        raise RpcError(SERVER_ERROR, f"insufficient funds for gas * price + value: {detail}")
