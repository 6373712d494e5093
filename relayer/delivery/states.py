"""How far a delivery is, which way it may go on, and the four ways it ends.

    planned → signed → sent → mined → effective
        every open state  → superseded | expired | failed
        mined             → sent        (the block was rolled back)
        effective         → sent        (the same, after it had been read back)

Only `effective`, read back from the contract, is success.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from contracts.refusals import Refusal
from relayer.chain.values import SkippedItem


class DeliveryState(StrEnum):
    """Where a delivery stands; the value is what the outbox stores and metrics show."""

    PLANNED = "planned"
    SIGNED = "signed"
    SENT = "sent"
    MINED = "mined"
    EFFECTIVE = "effective"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    FAILED = "failed"


_GIVEN_UP: Final = frozenset(
    {DeliveryState.SUPERSEDED, DeliveryState.EXPIRED, DeliveryState.FAILED}
)
TERMINAL: Final = _GIVEN_UP | {DeliveryState.EFFECTIVE}

TRANSITIONS: Final[Mapping[DeliveryState, frozenset[DeliveryState]]] = MappingProxyType(
    {
        DeliveryState.PLANNED: _GIVEN_UP | {DeliveryState.SIGNED},
        # A kill between sending and writing so leaves `signed` behind for what may be mined.
        DeliveryState.SIGNED: _GIVEN_UP | {DeliveryState.SENT, DeliveryState.MINED},
        DeliveryState.SENT: _GIVEN_UP | {DeliveryState.MINED},
        DeliveryState.MINED: _GIVEN_UP | {DeliveryState.EFFECTIVE, DeliveryState.SENT},
        # An end only when its block is final; until then a rollback takes it back.
        DeliveryState.EFFECTIVE: frozenset({DeliveryState.SENT}),
        **{state: frozenset[DeliveryState]() for state in _GIVEN_UP},
    }
)


class IllegalTransition(Exception):  # noqa: N818 -- a fault in our code, named for what happened
    """A delivery was to go where its state does not lead: our fault, nothing was written."""


def advance(current: DeliveryState, following: DeliveryState) -> DeliveryState:
    """Return the following state, or refuse a way that does not exist."""
    if following not in TRANSITIONS[current]:
        raise IllegalTransition(f"{current} does not lead to {following}")
    return following


class FailureReason(StrEnum):
    """Why a delivery failed (closed set)."""

    REVERTED = "reverted"
    REFUSED_BY_CHAIN = "refused_by_chain"
    NOT_IN_CONTRACT = "not_in_contract"
    ALL_SKIPPED = "all_skipped"
    NO_FUNDS = "no_funds"
    FEE_CAP = "fee_cap"
    NOT_SENT_HERE = "not_sent_here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """Read back from the contract at a block: each item stands there or is named as skipped."""

    tx_hash: bytes
    block_number: int
    gas_used: int
    skipped: tuple[SkippedItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """The contract holds a newer round, so this one can never count."""

    latest_round: int
    tx_hash: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Its time ran out before it was mined; its nonce is free again."""

    detail: str
    tx_hash: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It did not take effect and trying again would not help; `detail` names the refusal."""

    reason: FailureReason
    detail: str
    tx_hash: bytes | None = None


Outcome: TypeAlias = Effective | Superseded | Expired | Failed


def state_of(outcome: Outcome) -> DeliveryState:
    """Name the terminal state of an outcome."""
    return DeliveryState(type(outcome).__name__.lower())


def fields_of(outcome: Outcome) -> dict[str, Any]:
    """Write an outcome as a table; its transaction hash is kept beside it."""
    fields = asdict(outcome)
    del fields["tx_hash"]
    return fields


def outcome_from(
    state: DeliveryState, fields: Mapping[str, Any], tx_hash: bytes | None
) -> Outcome | None:
    """Read an outcome as it was written; None where the state is no end."""
    given = {**fields, "tx_hash": tx_hash}
    match state:
        case DeliveryState.EFFECTIVE:
            skipped = tuple(SkippedItem(**item) for item in given.pop("skipped"))
            return Effective(skipped=skipped, **given)
        case DeliveryState.SUPERSEDED:
            return Superseded(**given)
        case DeliveryState.EXPIRED:
            return Expired(**given)
        case DeliveryState.FAILED:
            return Failed(reason=FailureReason(given.pop("reason")), **given)
    return None


def detail_of(outcome: Outcome) -> str:
    """Say in words how a delivery ended."""
    if isinstance(outcome, Effective):
        return f"effective in block {outcome.block_number}"
    if isinstance(outcome, Superseded):
        holder = f"the contract holds round {outcome.latest_round}"
        return f"superseded: {holder if outcome.latest_round else 'somebody else did it'}"
    return f"{state_of(outcome)}: {outcome.detail}"


_DONE_BEFORE: Final = frozenset(
    {
        *(Refusal.STALE_ROUND, Refusal.NOT_REQUESTED, Refusal.NO_POSITION),
        *(Refusal.NOT_LIQUIDATABLE, Refusal.PAUSE_ALREADY_RUNNING),
        Refusal.NOTHING_TO_DELEVERAGE,
    }
)
_TOO_LATE: Final = frozenset(
    {
        *(Refusal.EXPIRED, Refusal.OBSERVATION_TOO_OLD, Refusal.OUTSIDE_WINDOW),
        *(Refusal.ACTION_VOID, Refusal.TRIGGER_GONE, Refusal.PRICE_BEYOND_BOUND),
    }
)


def outcome_of_refusal(
    code: int | None, detail: str, latest_round: int, tx_hash: bytes | None = None
) -> Outcome:
    """Read a contract's refusal of a whole batch: what is over is not a failure."""
    if code in _DONE_BEFORE:
        return Superseded(latest_round=latest_round, tx_hash=tx_hash)
    if code in _TOO_LATE:
        return Expired(detail=detail, tx_hash=tx_hash)
    return Failed(reason=FailureReason.REVERTED, detail=detail, tx_hash=tx_hash)
