"""The endpoint for whoever holds the lease: each call looks at it last of all, a send above all."""

from __future__ import annotations

from collections.abc import Sequence

from relayer.chain.endpoints import SendAnswer
from relayer.chain.rpc import AccountStanding, Receipt
from relayer.delivery.ports import Chain
from relayer.lease import Lease


class LedChain:
    """A `Chain` that raises `NotLeading` as soon as another process may be the sender.

    Reading stops as well: what this process began is the other one's to bring to its end.
    """

    def __init__(self, chain: Chain, lease: Lease) -> None:
        self._chain = chain
        self._lease = lease

    @property
    def chain_id(self) -> int:
        """The chain that it serves."""
        return self._chain.chain_id

    async def account(self, address: str) -> AccountStanding:
        """Read an account's nonces and balance, and the newest base fee."""
        self._lease.require()
        return await self._chain.account(address)

    async def estimate_gas(self, sender: str, contract: str, payload: bytes) -> int:
        """Ask what a call would cost."""
        self._lease.require()
        return await self._chain.estimate_gas(sender, contract, payload)

    async def send(self, raw: bytes) -> SendAnswer:
        """Hand over signed bytes, if this process still holds the lease at this moment."""
        self._lease.require()
        return await self._chain.send(raw)

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        """Return a receipt, or None while there is none."""
        self._lease.require()
        return await self._chain.receipt(tx_hash)

    async def receipts_of(self, tx_hashes: Sequence[bytes]) -> tuple[Receipt | None, ...]:
        """Return several receipts in one round trip."""
        self._lease.require()
        return await self._chain.receipts_of(tx_hashes)

    async def knows(self, tx_hash: bytes) -> bool:
        """Tell whether the node has a transaction, pending or mined."""
        self._lease.require()
        return await self._chain.knows(tx_hash)

    async def final_block(self) -> int:
        """Return the number of the last block that no rollback takes back."""
        self._lease.require()
        return await self._chain.final_block()
