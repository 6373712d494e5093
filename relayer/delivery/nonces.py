"""Which nonce the next transaction takes: counted here, compared with the chain when in doubt."""

from __future__ import annotations

from typing import Final, Protocol

from prometheus_client import Gauge

from relayer.chain.rpc import AccountStanding

_WEI_PER_ETHER: Final = 10**18
_MOST_GAPS: Final = 64  # filled at once; a rollback takes few blocks


class AccountReader(Protocol):
    """Where the chain's own count is read."""

    async def account(self, address: str) -> AccountStanding:
        """Read an account's nonces and balance, and the newest base fee."""
        ...


class Nonces:
    """The sender's next nonce. Everything that hands one out runs under the sender's lock."""

    def __init__(self, chain: AccountReader, address: str, balance_ether: Gauge) -> None:
        self._chain = chain
        self._balance_ether = balance_ether
        self._address = address
        self._next: int | None = None
        self._open: set[int] = set()
        self.base_fee_wei = 0

    async def next_nonce(self) -> int:
        """Return the nonce to use; `take` counts it as used."""
        if self._next is None:
            await self.reconcile()
        assert self._next is not None
        return self._next

    def take(self, nonce: int) -> None:
        """Count a nonce as used: bytes with it have been kept, and may be on their way."""
        self._open.add(nonce)
        if self._next is not None:  # before the first look at the chain the open ones are enough
            self._next = max(self._next, nonce + 1)

    def settle(self, nonce: int) -> None:
        """Forget a nonce that the chain has used up."""
        self._open.discard(nonce)

    def note_price(self, gas_price_wei: int) -> None:
        """Take what the last transaction paid as the base fee: it costs no call."""
        if gas_price_wei:
            self.base_fee_wei = gas_price_wei

    def give_back(self, nonce: int) -> None:
        """Take back a nonce that no node has; a later one that is out leaves a gap to be filled."""
        self._open.discard(nonce)
        if self._next == nonce + 1:
            self._next = nonce

    def has_open_below(self, nonce: int) -> bool:
        """Tell whether an earlier transaction of ours is still on its way."""
        return any(earlier < nonce for earlier in self._open)

    def has_open(self) -> bool:
        """Tell whether any transaction of ours is on its way."""
        return bool(self._open)

    def gaps_from(self, first: int) -> tuple[int, ...]:
        """Name the nonces from one on, below our newest, that no transaction on its way has."""
        newest = max(self._open, default=first)
        return tuple(n for n in range(first, newest) if n not in self._open)[:_MOST_GAPS]

    def is_newest(self, nonce: int) -> bool:
        """Tell whether no later nonce has been used."""
        return self._next is None or self._next <= nonce + 1

    async def standing(self) -> AccountStanding:
        """Read the account, and show what is left to pay gas with."""
        standing = await self._chain.account(self._address)
        self._balance_ether.set(standing.balance_wei / _WEI_PER_ETHER)
        return standing

    async def reconcile(self) -> AccountStanding:
        """Take the chain's pending count, but none that a transaction of ours on its way has.

        A node forgets transactions, so its count may lie below ours.
        """
        standing = await self.standing()
        self._next = max(standing.pending_nonce, max(self._open, default=-1) + 1)
        self.base_fee_wei = standing.base_fee_wei
        return standing
