"""One chain endpoint: few round trips, every answer checked, every fault in our own classes.

Through web3's own HTTP provider, without its middleware: `contract.transact()` costs 12 round
trips where a delivery needs two. The provider's session manager asks a second thread for one lock
of the whole process at each request, and a request that is cancelled there can leave it locked for
ever: every endpoint then hangs. Ours has one session a provider, and no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from eth_typing import URI
from web3 import AsyncHTTPProvider
from web3._utils.http_session_manager import HTTPSessionManager
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from relayer.chain import rpc
from relayer.chain.rpc import AccountStanding, BlockStamp, Receipt, SendRefusal
from relayer.errors import (
    BadAnswer,
    ChainRefused,
    HoldCycle,
    Misconfigured,
    RelayerError,
    Retry,
    WrongChain,
    translate_web3,
)

Call: TypeAlias = tuple[str, Sequence[Any]]

# Longer than the 10 s for which a node holds a synchronous send.
DEFAULT_TIMEOUT_S: Final = 15.0
_CONNECTIONS: Final = 8
# What a provider's request raises: transport, its own, and its parser's on an answer like no other.
_FAULTS: Final = (
    *(aiohttp.ClientError, OSError, Web3Exception, RuntimeError),
    *(ValueError, TypeError, KeyError, AttributeError),
)


class SendCapability(StrEnum):
    """How an endpoint takes transactions, best first; the value is the method's name."""

    REALTIME = "realtime_sendRawTransaction"
    SYNC = "eth_sendRawTransactionSync"
    POLL = "eth_sendRawTransaction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The node has the transaction; with the receipt where it waited for one."""

    receipt: Receipt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """The node did not take the transaction."""

    refusal: SendRefusal
    detail: str


SendAnswer: TypeAlias = Taken | NotTaken


class _OneSession(HTTPSessionManager):
    """A session manager that manages nothing: one session, its connections kept."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__()
        self._session = session

    async def async_cache_and_return_session(
        self,
        endpoint_uri: URI,  # noqa: ARG002 - the library's signature
        session: aiohttp.ClientSession | None = None,  # noqa: ARG002
        request_timeout: aiohttp.ClientTimeout | None = None,  # noqa: ARG002
    ) -> aiohttp.ClientSession:
        """Give the session."""
        return self._session

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()


class _Provider(AsyncHTTPProvider):
    """The library's provider over one session of ours."""

    def __init__(self, url: str, timeout_s: float) -> None:
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(5.0, timeout_s))
        # A repeated send is the transactor's decision, not the library's.
        kwargs = {"timeout": timeout}
        super().__init__(url, request_kwargs=kwargs, exception_retry_configuration=None)
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        self._sessions = _OneSession(aiohttp.ClientSession(connector=connector))
        self._request_session_manager = self._sessions

    async def disconnect(self) -> None:
        """Close the connections."""
        await self._sessions.close()


class ChainEndpoint:
    """A JSON-RPC endpoint of a known chain; build it with `open`, which checks that it is that."""

    def __init__(self, provider: AsyncHTTPProvider, name: str, chain_id: int) -> None:
        self._provider = provider
        self.name = name
        self.chain_id = chain_id
        self.sends_by = SendCapability.POLL

    @classmethod
    async def open(
        cls, url: str, *, chain_id: int | None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> ChainEndpoint:
        """Connect, check the chain id, and find out how the endpoint takes transactions.

        Parameters
        ----------
        chain_id
            The deployment's; None takes the endpoint's word, for what has no deployment yet.

        Raises
        ------
        WrongChain
            It serves another chain; nothing was sent to it.
        """
        endpoint = cls(_provider(url, timeout_s), urlsplit(url).hostname or url, 0)
        try:
            answered = rpc.quantity(await endpoint.call("eth_chainId"))
            if chain_id is not None and answered != chain_id:
                raise WrongChain(expected=chain_id, actual=answered, endpoint=endpoint.name)
            endpoint.chain_id = answered
            endpoint.sends_by = await endpoint._find_capability()
        except (RelayerError, asyncio.CancelledError):
            await endpoint.close()
            raise
        return endpoint

    async def close(self) -> None:
        """Close the connections."""
        await self._provider.disconnect()

    async def call(self, method: str, *params: Any) -> Any:  # noqa: ANN401 -- JSON
        """Make one call and return its result, as JSON says it."""
        try:
            answer = await self._provider.make_request(RPCEndpoint(method), list(params))
        except _FAULTS as exc:
            raise translate_web3(exc) from exc
        return _result(answer)

    async def batch(self, calls: Sequence[Call]) -> tuple[Any, ...]:
        """Make several calls in one round trip; one that fails fails them all."""
        if not calls:
            return ()
        requests = [(RPCEndpoint(method), list(params)) for method, params in calls]
        try:
            answers = await self._provider.make_batch_request(requests)
        except _FAULTS as exc:
            raise translate_web3(exc) from exc
        if not isinstance(answers, list):
            _result(answers)  # one error instead of a list: it says what is wrong with the batch
            raise BadAnswer("a batch was answered with one result")
        if len(answers) != len(calls):
            raise BadAnswer(f"a batch of {len(calls)} calls has {len(answers)} answers")
        return tuple(_result(answer) for answer in answers)

    async def block(self, tag: str | int = "latest") -> BlockStamp:
        """Read a block's header by tag or number."""
        method, params = block_call(tag)
        return rpc.block_stamp(await self.call(method, *params))

    async def account(self, address: str) -> AccountStanding:
        """Read an account's nonces and balance, and the newest base fee, in one round trip."""
        mined, pending, balance, block = await self.batch(
            [
                ("eth_getTransactionCount", (address, "latest")),
                ("eth_getTransactionCount", (address, "pending")),
                ("eth_getBalance", (address, "latest")),
                block_call("latest"),
            ]
        )
        return AccountStanding(
            mined_nonce=rpc.quantity(mined),
            pending_nonce=rpc.quantity(pending),
            balance_wei=rpc.quantity(balance),
            base_fee_wei=rpc.block_stamp(block).base_fee_wei,
        )

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        """Return a transaction's receipt, or None while there is none."""
        return rpc.receipt(await self.call("eth_getTransactionReceipt", hexed(tx_hash)))

    async def receipts_of(self, tx_hashes: Sequence[bytes]) -> tuple[Receipt | None, ...]:
        """Return several transactions' receipts in one round trip, None for each without one."""
        asked = [("eth_getTransactionReceipt", (hexed(each),)) for each in tx_hashes]
        return tuple(rpc.receipt(answer) for answer in await self.batch(asked))

    async def knows(self, tx_hash: bytes) -> bool:
        """Tell whether the node has a transaction, pending or mined."""
        return await self.call("eth_getTransactionByHash", hexed(tx_hash)) is not None

    async def final_block(self) -> int:
        """Return the number of the last block that no rollback takes back; 0 where none is said."""
        try:
            return (await self.block("finalized")).number
        except ChainRefused:  # a chain without that tag, or before its first final block
            return 0

    async def estimate_gas(self, sender: str, contract: str, payload: bytes) -> int:
        """Ask the endpoint what a call would cost: MegaETH's schedule is no node's but its own.

        Raises
        ------
        Reverted
            The contract would refuse it; `code` says which guard.
        """
        request = {"from": sender, "data": hexed(payload)}
        if contract != "0x":  # a creation has no recipient
            request["to"] = contract
        return rpc.quantity(await self.call("eth_estimateGas", request))

    async def send(self, raw: bytes) -> SendAnswer:
        """Hand over signed bytes by the best method that the endpoint has.

        Raises
        ------
        Retry
            The answer was lost: the node may or may not have the transaction.
        """
        try:
            answer = await self.call(self.sends_by, hexed(raw))
            polled = self.sends_by is SendCapability.POLL
            return Taken(receipt=None if polled else rpc.receipt(answer))
        except HoldCycle as exc:
            return _not_taken(exc)

    async def _find_capability(self) -> SendCapability:
        # An empty transaction is refused by whoever knows the method, and changes nothing.
        for capability in (SendCapability.REALTIME, SendCapability.SYNC):
            try:
                await self.call(capability, "0x")
            except RelayerError as exc:
                if isinstance(exc, Retry):
                    raise
                if not rpc.is_method_missing(exc):
                    return capability
        return SendCapability.POLL


def _provider(url: str, timeout_s: float) -> AsyncHTTPProvider:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise Misconfigured(f"endpoint {urlsplit(url).scheme or url!r}: use an http(s) address")
    return _Provider(url, timeout_s)


def _not_taken(error: HoldCycle) -> SendAnswer:
    refusal = rpc.send_refusal(error)
    if refusal in {SendRefusal.ALREADY_KNOWN, SendRefusal.RECEIPT_TIMEOUT}:
        return Taken(receipt=None)
    return NotTaken(refusal=refusal, detail=str(error))


def _result(answer: object) -> Any:  # noqa: ANN401 -- JSON
    if not isinstance(answer, Mapping):
        raise BadAnswer(f"not a JSON-RPC answer: {str(answer)[:80]!r}")
    if answer.get("error") is not None:
        raise rpc.fault(answer["error"])
    if "result" not in answer:
        raise BadAnswer("a JSON-RPC answer has neither result nor error")
    return answer["result"]


def hexed(value: bytes | int) -> str:
    """Write bytes or a quantity as JSON-RPC does."""
    return hex(value) if isinstance(value, int) else "0x" + value.hex()


def block_call(tag: str | int) -> Call:
    """Build the call for a block's header."""
    return "eth_getBlockByNumber", (hexed(tag) if isinstance(tag, int) else tag, False)
