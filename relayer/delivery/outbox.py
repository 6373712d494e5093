"""The outbox: what is to be delivered and every set of bytes that may have left, on disk first.

A row is never removed, an attempt never altered; a delivery moves only along `states.TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from contracts.messages import PriceRound, calldata
from relayer.delivery.calls import CALL_KINDS, ContractCall
from relayer.delivery.fees import Fees
from relayer.delivery.states import (
    TERMINAL,
    DeliveryState,
    Effective,
    Outcome,
    advance,
    fields_of,
    outcome_from,
    state_of,
)
from relayer.signing.values import SignedMessage
from relayer.storage import Database, attempts, deliveries

DeliveryKind: TypeAlias = Literal["price", "risk", "keeper", "guardian", "action"]
_MOST_UNFINAL: Final = 64  # deliveries looked back on, one call each; years of them are kept
_OPEN: Final = tuple(state.value for state in DeliveryState if state not in TERMINAL)


class Purpose(StrEnum):
    """What a transaction is for: to post the message, or to use up its nonce for nothing."""

    POST = "post"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One set of signed bytes that may be on its way."""

    purpose: Purpose
    nonce: int
    gas_limit: int
    fees: Fees
    raw: bytes
    tx_hash: bytes
    signed_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A signed message, or a call, on its way to a contract; attempts oldest first."""

    id: int
    kind: DeliveryKind
    chain_id: int
    contract: str
    sender: str
    round: int
    valid_until_ms: int
    message_hash: bytes
    payload: bytes
    state: DeliveryState
    nonce: int | None
    attempts: tuple[Attempt, ...]
    outcome: Outcome | None = None

    @property
    def is_call(self) -> bool:
        """Tell whether it is a call without a signed message: it has no round."""
        return self.kind in CALL_KINDS


class Outbox:
    """Deliveries as values; each method is one transaction that is on disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def plan(self, signed: SignedMessage, sender: str, now_ms: int) -> Delivery:
        """Take a message in; the same message again returns its row, wherever that stands."""
        return await self._plan(_planned(signed, sender, now_ms))

    async def plan_call(self, call: ContractCall, sender: str, now_ms: int) -> Delivery:
        """Take a call in; the same call again returns its row, wherever that stands."""
        return await self._plan(_planned_call(call, sender, now_ms))

    async def _plan(self, values: dict[str, Any]) -> Delivery:
        def work(connection: Connection) -> Delivery:
            found = _find(connection, _same_message(values))
            if found:
                return found[0]
            connection.execute(sa.insert(deliveries).values(values))
            return _find(connection, _same_message(values))[0]

        try:
            return await self._database.write(work)
        except IntegrityError:  # another instance took it in at the same moment
            return await self._database.write(work)

    async def attach(self, delivery: Delivery, attempt: Attempt) -> Delivery:
        """Keep signed bytes, before they are sent for the first time."""
        planned = delivery.state is DeliveryState.PLANNED
        state = advance(delivery.state, DeliveryState.SIGNED) if planned else delivery.state

        def work(connection: Connection) -> None:
            connection.execute(sa.insert(attempts).values(_attempt_columns(delivery.id, attempt)))
            _update(connection, delivery, state, attempt.signed_at_ms, {"nonce": attempt.nonce})

        await self._database.write(work)
        tried = (*delivery.attempts, attempt)
        return replace(delivery, state=state, nonce=attempt.nonce, attempts=tried)

    async def mark(self, delivery: Delivery, state: DeliveryState, now_ms: int) -> Delivery:
        """Move a delivery on to an open state."""
        following = advance(delivery.state, state)
        await self._database.write(lambda c: _update(c, delivery, following, now_ms, {}))
        return replace(delivery, state=following)

    async def close(self, delivery: Delivery, outcome: Outcome, now_ms: int) -> Delivery:
        """Write how a delivery ended."""
        following = advance(delivery.state, state_of(outcome))
        facts = {
            "outcome": fields_of(outcome),
            "tx_hash": outcome.tx_hash,
            "block_number": outcome.block_number if isinstance(outcome, Effective) else None,
        }
        await self._database.write(lambda c: _update(c, delivery, following, now_ms, facts))
        return replace(delivery, state=following, outcome=outcome)

    async def reopen(self, delivery: Delivery, now_ms: int) -> Delivery:
        """Take back that a delivery was effective: its block is no longer on the chain."""
        following = advance(delivery.state, DeliveryState.SENT)
        facts: dict[str, Any] = {"outcome": {}, "tx_hash": None, "block_number": None}
        await self._database.write(lambda c: _update(c, delivery, following, now_ms, facts))
        return replace(delivery, state=following, outcome=None)

    async def effective_above(
        self, chain_id: int, sender: str, block_number: int
    ) -> tuple[Delivery, ...]:
        """Return what was effective in the blocks above one, newest block first, within limits."""
        newest = (
            sa.select(deliveries.c.id)
            .where(deliveries.c.chain_id == chain_id, deliveries.c.sender == sender)
            .order_by(deliveries.c.id.desc())
            .limit(_MOST_UNFINAL)
        )
        condition = sa.and_(
            deliveries.c.id.in_(newest),
            deliveries.c.state == DeliveryState.EFFECTIVE.value,
            deliveries.c.block_number > block_number,
        )
        found = await self._database.read(lambda c: _find(c, condition))
        return tuple(sorted(found, key=_newest_first))

    async def find(self, chain_id: int, contract: str, message_hash: bytes) -> Delivery | None:
        """Return a message's delivery, ended or not; None when it never came here."""
        condition = _same_message(
            {"chain_id": chain_id, "contract": contract, "message_hash": message_hash}
        )
        found = await self._database.read(lambda c: _find(c, condition))
        return found[0] if found else None

    async def open_deliveries(self, chain_id: int, sender: str) -> tuple[Delivery, ...]:
        """Return what has not ended, by nonce, what has none last: the work after a kill."""
        condition = sa.and_(
            deliveries.c.chain_id == chain_id,
            deliveries.c.sender == sender,
            deliveries.c.state.in_(_OPEN),
        )
        found = await self._database.read(lambda c: _find(c, condition))
        return tuple(sorted(found, key=lambda d: (d.nonce is None, d.nonce or 0, d.id)))


def _planned(signed: SignedMessage, sender: str, now_ms: int) -> dict[str, Any]:
    message = signed.posted
    return {
        "kind": "price" if isinstance(message, PriceRound) else "risk",
        "chain_id": signed.domain.chain_id,
        "contract": signed.domain.contract,
        "sender": sender,
        "round": message.round,
        "valid_until_ms": message.valid_until_ms,
        "message_hash": signed.message_hash,
        "payload": calldata(message, signed.signatures),
        "state": DeliveryState.PLANNED.value,
        "outcome": {},
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
    }


def _planned_call(call: ContractCall, sender: str, now_ms: int) -> dict[str, Any]:
    return {
        "kind": call.kind,
        "chain_id": call.chain_id,
        "contract": call.contract,
        "sender": sender,
        "round": 0,
        "valid_until_ms": call.valid_until_ms,
        "message_hash": call.call_hash,
        "payload": call.payload,
        "state": DeliveryState.PLANNED.value,
        "outcome": {},
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
    }


def _newest_first(delivery: Delivery) -> tuple[int, int]:
    block = delivery.outcome.block_number if isinstance(delivery.outcome, Effective) else 0
    return -block, -(delivery.nonce or 0)


def _same_message(values: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(
        deliveries.c.chain_id == values["chain_id"],
        deliveries.c.contract == values["contract"],
        deliveries.c.message_hash == values["message_hash"],
    )


def _find(connection: Connection, condition: sa.ColumnElement[bool]) -> list[Delivery]:
    rows = connection.execute(sa.select(deliveries).where(condition)).all()
    wanted = [row.id for row in rows]
    query = sa.select(attempts).where(attempts.c.delivery_id.in_(wanted)).order_by(attempts.c.id)
    tried = connection.execute(query).all() if wanted else []
    return [_delivery(row, [a for a in tried if a.delivery_id == row.id]) for row in rows]


def _update(
    connection: Connection,
    delivery: Delivery,
    state: DeliveryState,
    now_ms: int,
    facts: Mapping[str, Any],
) -> None:
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.id == delivery.id)
        .values(state=state.value, updated_at_ms=now_ms, **facts)
    )


def _attempt_columns(delivery_id: int, attempt: Attempt) -> dict[str, Any]:
    return {
        "delivery_id": delivery_id,
        "purpose": attempt.purpose.value,
        "nonce": attempt.nonce,
        "gas_limit": attempt.gas_limit,
        "max_fee_wei": attempt.fees.max_fee_wei,
        "priority_fee_wei": attempt.fees.priority_fee_wei,
        "raw": attempt.raw,
        "tx_hash": attempt.tx_hash,
        "signed_at_ms": attempt.signed_at_ms,
    }


def _delivery(row: Row[Any], tried: list[Row[Any]]) -> Delivery:
    return Delivery(
        id=row.id,
        kind=row.kind,
        chain_id=row.chain_id,
        contract=row.contract,
        sender=row.sender,
        round=row.round,
        valid_until_ms=row.valid_until_ms,
        message_hash=row.message_hash,
        payload=row.payload,
        state=DeliveryState(row.state),
        nonce=row.nonce,
        attempts=tuple(_attempt(item) for item in tried),
        outcome=outcome_from(DeliveryState(row.state), row.outcome, row.tx_hash),
    )


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        purpose=Purpose(row.purpose),
        nonce=row.nonce,
        gas_limit=row.gas_limit,
        fees=Fees(max_fee_wei=row.max_fee_wei, priority_fee_wei=row.priority_fee_wei),
        raw=row.raw,
        tx_hash=row.tx_hash,
        signed_at_ms=row.signed_at_ms,
    )
