"""What may go wrong in the hands, classed by what the caller does about it, never by who raised it.

    RelayerError
    ├── Retry                 the same call may succeed, now or shortly
    │   ├── Unreachable       refused, reset, closed or timed out on the way
    │   ├── RateLimited       asked too often; `retry_after_s` when the peer said how long
    │   └── BadAnswer         an answer came that cannot be read
    ├── HoldCycle             nothing may be decided or posted on this; the next cycle asks again
    │   ├── VenueRefused      the exchange understood and said no
    │   ├── ChainRefused      the endpoint understood and said no
    │   ├── Reverted          a contract said no; `code` is its refusal, or None
    │   ├── EndpointsDisagree two endpoints answer differently, and no third says who is right
    │   ├── ChainMoved        the block that was read is no longer the block of that number
    │   ├── EvidenceMissing   the store does not hold that hash
    │   ├── EvidenceDamaged   the store's bytes do not have the hash that names them
    │   ├── StorageFailed     the database could not write or read now (locked, full, away)
    │   ├── NotLeading        another instance holds the lease, or may hold it
    │   └── NoRelay           the half that signs and sends does not answer
    └── Stop                  no later cycle mends it; an operator has to
        ├── Misconfigured     an option, address or capability that cannot be used
        ├── WrongChain        the endpoint serves another chain than the deployment's
        ├── DeploymentWrong   the contracts are not those of the plan or of the deployment file
        ├── KeyRefused        a key file missing, readable by others, or not decryptable
        └── SchemaOutdated    the database's tables are not those of this version

The maps below name every class of the two libraries; tests enumerate the libraries and fail when
a class has no entry. They go by name, so that a process without venues does not import ccxt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping


class RelayerError(Exception):
    """Anything the hands could not do."""


class Retry(RelayerError):  # noqa: N818 -- the name says what to do
    """The same call may succeed, now or shortly."""


class HoldCycle(RelayerError):  # noqa: N818 -- the name says what to do
    """Nothing may be decided or posted on this; the next cycle asks again."""


class Stop(RelayerError):  # noqa: N818 -- the name says what to do
    """No later cycle mends it; an operator has to."""


class Unreachable(Retry):
    """The peer refused, reset, closed or did not answer in time."""


class RateLimited(Retry):
    """The peer was asked too often."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadAnswer(Retry):
    """An answer came that cannot be read."""


class VenueRefused(HoldCycle):
    """The exchange understood and said no."""


class ChainRefused(HoldCycle):
    """The endpoint understood and said no; `code` is the JSON-RPC error's or the HTTP status."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Reverted(HoldCycle):
    """A contract refused; `code` numbers its refusal, or is None when it is not one of ours."""

    def __init__(self, message: str, *, code: int | None = None, data: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class ChainMoved(HoldCycle):
    """The block that was read is no longer the block of that number."""


class EndpointsDisagree(HoldCycle):
    """Two endpoints answer differently at one block, and no third says who is right."""


class EvidenceMissing(HoldCycle):
    """The evidence store does not hold that hash."""


class EvidenceDamaged(HoldCycle):
    """The evidence store's bytes do not have the hash that names them."""


class StorageFailed(HoldCycle):
    """The database could not write or read now."""


class NotLeading(HoldCycle):
    """Another instance holds the lease, or may hold it: nothing is signed, sent or written here."""


class NoRelay(HoldCycle):
    """The half that signs and sends does not answer: nothing decided here reaches the chain."""


class Misconfigured(Stop):
    """An option, address or capability that cannot be used."""


class WrongChain(Stop):
    """The endpoint serves another chain than the deployment's."""

    def __init__(self, *, expected: int, actual: int, endpoint: str) -> None:
        super().__init__(
            f"endpoint {endpoint} answers chain id {actual}, expected chain id {expected}: "
            "point it at the deployment's chain, or use that chain's deployment file"
        )
        self.expected = expected
        self.actual = actual


class DeploymentWrong(Stop):
    """The contracts are not those of the plan or of the deployment file."""


class KeyRefused(Stop):
    """A key file is missing, readable by others, or not decryptable."""


class SchemaOutdated(Stop):
    """The database's tables are not those of this version."""


# The closed label values under which faults are counted: the leaves of the tree.
FAULT_REASONS = (
    *("unreachable", "rate_limited", "bad_answer"),
    *("venue_refused", "chain_refused", "reverted", "chain_moved", "unexpected"),
    *("evidence_missing", "evidence_damaged", "storage_failed", "not_leading"),
    "endpoints_disagree",
    *("misconfigured", "wrong_chain", "deployment_wrong", "key_refused", "schema_outdated"),
)


def fault_reason(error: RelayerError) -> str:
    """Name an error as metrics label it: its class in snake case, one of `FAULT_REASONS`."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()
    return name if name in FAULT_REASONS else "unexpected"


CCXT: Mapping[str, type[RelayerError]] = {
    "BaseError": VenueRefused,
    "ExchangeError": VenueRefused,
    # The daemon reads public data; whatever asks for an account or another argument is our mistake.
    "AuthenticationError": Misconfigured,
    "PermissionDenied": Misconfigured,
    "AccountNotEnabled": Misconfigured,
    "AccountSuspended": Misconfigured,
    "ArgumentsRequired": Misconfigured,
    "NotSupported": Misconfigured,
    "InvalidProxySettings": Misconfigured,
    "BadRequest": VenueRefused,
    # A delisting looks like this in the middle of a run: that market holds, the rest goes on.
    "BadSymbol": VenueRefused,
    "OperationRejected": VenueRefused,
    "NoChange": VenueRefused,
    "MarginModeAlreadySet": VenueRefused,
    "MarketClosed": VenueRefused,
    "ManualInteractionNeeded": VenueRefused,
    "RestrictedLocation": VenueRefused,
    "InsufficientFunds": VenueRefused,
    "InvalidAddress": VenueRefused,
    "AddressPending": VenueRefused,
    "InvalidOrder": VenueRefused,
    "OrderNotFound": VenueRefused,
    "OrderNotCached": VenueRefused,
    "OrderImmediatelyFillable": VenueRefused,
    "OrderNotFillable": VenueRefused,
    "DuplicateOrderId": VenueRefused,
    "ContractUnavailable": VenueRefused,
    "ExchangeClosedByUser": VenueRefused,
    "OperationFailed": Unreachable,
    "NetworkError": Unreachable,
    "DDoSProtection": RateLimited,
    "RateLimitExceeded": RateLimited,
    "ExchangeNotAvailable": Unreachable,
    "OnMaintenance": VenueRefused,
    "InvalidNonce": BadAnswer,
    "ChecksumError": BadAnswer,
    "RequestTimeout": Unreachable,
    "BadResponse": BadAnswer,
    "NullResponse": BadAnswer,
    "CancelPending": Unreachable,
    "UnsubscribeError": Unreachable,
}

WEB3: Mapping[str, type[RelayerError]] = {
    "Web3Exception": ChainRefused,
    "Web3AssertionError": Misconfigured,
    "Web3ValueError": Misconfigured,
    "Web3AttributeError": Misconfigured,
    "Web3TypeError": Misconfigured,
    "MethodNotSupported": Misconfigured,
    # Empty return data: no contract at that address on this chain.
    "BadFunctionCallOutput": Misconfigured,
    "BlockNumberOutOfRange": ChainRefused,
    "ProviderConnectionError": Unreachable,
    "CannotHandleRequest": Unreachable,
    "TooManyRequests": RateLimited,
    "MultipleFailedRequests": Unreachable,
    "InvalidAddress": Misconfigured,
    "NameNotFound": Misconfigured,
    "StaleBlockchain": ChainRefused,
    "MismatchedABI": Misconfigured,
    "ABIEventNotFound": Misconfigured,
    "ABIFunctionNotFound": Misconfigured,
    "ABIConstructorNotFound": Misconfigured,
    "ABIFallbackNotFound": Misconfigured,
    "ABIReceiveNotFound": Misconfigured,
    "Web3ValidationError": Misconfigured,
    "ExtraDataLengthError": Misconfigured,
    "NoABIFunctionsFound": Misconfigured,
    "NoABIFound": Misconfigured,
    "NoABIEventsFound": Misconfigured,
    "InsufficientData": BadAnswer,
    "TimeExhausted": Unreachable,
    "InfuraProjectIdNotFound": Misconfigured,
    "LogTopicError": BadAnswer,
    "InvalidEventABI": Misconfigured,
    "ContractLogicError": Reverted,
    "ContractCustomError": Reverted,
    "ContractPanicError": Reverted,
    "OffchainLookup": Reverted,
    "InvalidTransaction": Misconfigured,
    "TransactionTypeMismatch": Misconfigured,
    "BadResponseFormat": BadAnswer,
    "TaskNotRunning": Unreachable,
    "PersistentConnectionError": Unreachable,
    "ReadBufferLimitReached": BadAnswer,
    "PersistentConnectionClosedOK": Unreachable,
    "SubscriptionProcessingFinished": Unreachable,
    "SubscriptionHandlerTaskException": Unreachable,
    "Web3RPCError": ChainRefused,
    "MethodUnavailable": Misconfigured,
    "RequestTimedOut": Unreachable,
    "TransactionNotFound": ChainRefused,
    "TransactionIndexingInProgress": ChainRefused,
    "BlockNotFound": ChainRefused,
}

AIOHTTP: Mapping[str, type[RelayerError]] = {
    "ClientError": Unreachable,
    "InvalidURL": Misconfigured,
    "ClientPayloadError": BadAnswer,
    "ClientResponseError": BadAnswer,
}

# Providers put the access key into the path or the query of the address.
_ADDRESS = re.compile(r"(?P<host>\b(?:https?|wss?)://[^\s/'\")]+)[^\s'\")]*")

# A library that meets an answer of an unexpected shape raises one of these from its parser.
_PARSING = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError)


def translate_ccxt(exc: BaseException) -> RelayerError:
    """Say in our tree what a ccxt call raised."""
    return _translate(exc, library="ccxt", table=CCXT)


def translate_web3(exc: BaseException) -> RelayerError:
    """Say in our tree what a web3 call raised."""
    return _translate(exc, library="web3", table=WEB3)


def _translate(
    exc: BaseException, *, library: str, table: Mapping[str, type[RelayerError]]
) -> RelayerError:
    if isinstance(exc, RelayerError):
        return exc
    if not isinstance(exc, Exception):
        raise TypeError(f"{type(exc).__name__} ends the task; it is not to be translated") from exc
    message = f"{type(exc).__name__}: {_first_line(exc)}"
    status = getattr(exc, "status", None)  # aiohttp has no classes for HTTP statuses
    if isinstance(status, int) and 400 <= status < 500 and status != 408:
        return _by_status(status, message, library)
    kind = _by_name(exc, library, table) or _by_name(exc, "aiohttp", AIOHTTP) or _by_type(exc)
    return kind(message)


def _by_status(status: int, message: str, library: str) -> RelayerError:
    if status == 429:
        return RateLimited(message)
    return VenueRefused(message) if library == "ccxt" else ChainRefused(message, code=status)


def _by_name(
    exc: Exception, library: str, table: Mapping[str, type[RelayerError]]
) -> type[RelayerError] | None:
    names = (c.__name__ for c in type(exc).__mro__ if c.__module__.split(".")[0] == library)
    return next((table[name] for name in names if name in table), None)


def _by_type(exc: Exception) -> type[RelayerError]:
    if isinstance(exc, OSError):  # TimeoutError, refused, reset and TLS errors among them
        return Unreachable
    if isinstance(exc, (json.JSONDecodeError, UnicodeDecodeError, *_PARSING)):
        return BadAnswer
    return HoldCycle


def _first_line(exc: Exception) -> str:
    lines = redact_addresses(str(exc)).splitlines()
    silent = "nothing came in time" if isinstance(exc, TimeoutError) else "no message"
    return lines[0][:300] if lines else silent


def redact_addresses(text: str) -> str:
    """Cut each URL in a text down to its host; paths and queries of endpoints carry access keys."""
    return _ADDRESS.sub(r"\g<host>/...", text)


def readable(text: str) -> str:
    """Put a space for each run of what nobody can read in another's words.

    Nodes quote the bytes of a revert as text. A zero among them is refused by PostgreSQL, half a
    surrogate pair by both databases, and a line break would begin another line of the log.
    """
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
