"""One account that sends a call and waits for what came of it: deployments, tools, demos.

Decisions go another way, through the durable outbox of relayer/delivery.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from relayer.chain.endpoints import ChainEndpoint, NotTaken
from relayer.chain.rpc import Receipt
from relayer.chain.views import View
from relayer.delivery.fees import FeeRules, first_offer, gas_limit
from relayer.delivery.transactions import Transaction, created_address, sign
from relayer.errors import ChainRefused, Unreachable
from relayer.signing.keys import Key

_RECEIPT_TIMEOUT_S: Final = 120.0
_POLL_S: Final = 0.2
_CREATION: Final = "0x"


class Wallet:
    """An account's key, and the endpoint that it sends through, one transaction at a time."""

    def __init__(self, endpoint: ChainEndpoint, key: Key, fees: FeeRules) -> None:
        self._endpoint = endpoint
        self._key = key
        self._fees = fees
        self._gas: dict[tuple[str, bytes], int] = {}

    @property
    def address(self) -> str:
        """The account, in EIP-55 case."""
        return self._key.address

    async def next_places(self, count: int) -> tuple[str, ...]:
        """Give where the next contracts will stand, if nothing else is sent between."""
        nonce = (await self._endpoint.account(self.address)).pending_nonce
        return tuple(created_address(self.address, nonce + index) for index in range(count))

    async def create(self, code: bytes, what: str) -> tuple[str, int]:
        """Create a contract; give its address and block.

        Raises
        ------
        ChainRefused
            Its creation was refused or reverted.
        """
        nonce, receipt = await self._send(_CREATION, code, what)
        return created_address(self.address, nonce), receipt.block_number

    async def tell(self, contract: str, function: View, *values: Any) -> Receipt:  # noqa: ANN401
        """Call a function of a contract, after it was tried without sending.

        Raises
        ------
        Reverted
            The contract would refuse it; `code` says which guard.
        ChainRefused
            It was not taken, or reverted although it had passed when tried.
        """
        return await self.post(contract, function.payload(*values))

    async def post(self, contract: str, payload: bytes) -> Receipt:
        """Send a call that is encoded already, after it was tried without sending.

        Raises
        ------
        Reverted
            The contract would refuse it; `code` says which guard.
        ChainRefused
            It was not taken, or reverted although it had passed when tried.
        """
        _, receipt = await self._send(contract, payload, f"a call to {contract}")
        return receipt

    async def _send(self, recipient: str, payload: bytes, what: str) -> tuple[int, Receipt]:
        standing = await self._endpoint.account(self.address)
        offer = first_offer(standing.base_fee_wei, self._fees)
        if offer is None:
            raise ChainRefused("the base fee is above max_fee_cap_wei")
        signed = sign(
            Transaction(
                chain_id=self._endpoint.chain_id,
                nonce=standing.pending_nonce,
                fees=offer,
                gas_limit=await self._gas_for(recipient, payload),
                recipient=recipient,
                payload=payload,
            ),
            self._key,
        )
        answer = await self._endpoint.send(signed.raw)
        if isinstance(answer, NotTaken):
            raise ChainRefused(f"{what}: {answer.detail}")
        receipt = answer.receipt or await self._wait(signed.tx_hash, what)
        if not receipt.succeeded:
            raise ChainRefused(f"{what}: reverted in block {receipt.block_number}")
        return standing.pending_nonce, receipt

    async def _gas_for(self, recipient: str, payload: bytes) -> int:
        estimate = await self._endpoint.estimate_gas(self.address, recipient, payload)
        return gas_limit(estimate, self._fees)

    async def _wait(self, tx_hash: bytes, what: str) -> Receipt:
        for _ in range(int(_RECEIPT_TIMEOUT_S / _POLL_S)):
            if receipt := await self._endpoint.receipt(tx_hash):
                return receipt
            await asyncio.sleep(_POLL_S)
        raise Unreachable(f"{what}: not mined in {_RECEIPT_TIMEOUT_S:.0f} s (0x{tx_hash.hex()})")
