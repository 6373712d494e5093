"""What is handed over, and what comes back: whole messages and calls as bytes, read strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from contracts.messages import Domain, PositionTerms, PriceRound, RiskUpdate
from relayer.delivery.calls import ContractCall
from relayer.delivery.states import (
    DeliveryState,
    Effective,
    Expired,
    Failed,
    Outcome,
    Superseded,
    fields_of,
    outcome_from,
    state_of,
)
from relayer.signing.values import NoQuorum, Proposal, Refusal, SignedMessage
from relayer.signing.wire import (
    Malformed,
    decode_answer,
    decode_proposal,
    encode_answer,
    encode_proposal,
)


class AskKind(StrEnum):
    """What is asked for (closed set, a metric's label)."""

    PRICE = "price"  # to be signed, posted and read back
    RISK = "risk"
    TERMS = "terms"  # to be signed only
    ACTION = "action"
    KEEPER = "keeper"  # to be sent
    GUARDIAN = "guardian"
    ACT = "act"  # a signed action, to be sent


POSTED: Final = frozenset({AskKind.PRICE, AskKind.RISK})
SENT: Final = frozenset({AskKind.KEEPER, AskKind.GUARDIAN, AskKind.ACT})
SIGNED, UNSIGNED = "signed", "unsigned"
# How an ask may end: as a delivery does, or signed or not where that is all there is to it.
ENDS: Final = ("effective", "superseded", "expired", "failed", SIGNED, UNSIGNED)

Answer: TypeAlias = Outcome | SignedMessage | NoQuorum


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A message to be signed (and posted, where it has a round), or a call to be sent."""

    what: Proposal | ContractCall
    decided_at_ms: int

    @property
    def kind(self) -> AskKind:
        """Name what is asked for."""
        if isinstance(self.what, ContractCall):
            return AskKind.ACT if self.what.kind == "action" else AskKind(self.what.kind)
        message = self.what.message
        if isinstance(message, PriceRound):
            return AskKind.PRICE
        if isinstance(message, RiskUpdate):
            return AskKind.RISK
        return AskKind.TERMS if isinstance(message, PositionTerms) else AskKind.ACTION

    @property
    def round(self) -> int:
        """The round that it uses up; 0 where it has none."""
        if isinstance(self.what, ContractCall) or self.kind not in POSTED:
            return 0
        return self.what.posted.round

    @property
    def valid_until_ms(self) -> int:
        """When it is worth nothing any more."""
        if isinstance(self.what, ContractCall):
            return self.what.valid_until_ms
        return self.what.message.valid_until_ms

    @property
    def place(self) -> dict[str, Any]:
        """Tell it from every other."""
        if isinstance(self.what, ContractCall):
            where: ContractCall | Domain = self.what
            named = self.what.call_hash
        else:
            where, named = self.what.domain, self.what.digest
        return {
            "kind": self.kind.value,
            "chain_id": where.chain_id,
            "contract": where.contract,
            "message_hash": named,
        }


def encode_ask(ask: Ask) -> bytes:
    """Write what is asked for."""
    at = {"decided_at_ms": ask.decided_at_ms}
    if isinstance(ask.what, ContractCall):
        return json.dumps(at | {"call": _plain_call(ask.what)}).encode()
    return json.dumps(at | {"message": encode_proposal(ask.what).decode()}).encode()


def decode_ask(body: bytes) -> Ask | None:
    """Read what is asked for; None where this version cannot read it."""
    try:
        given = json.loads(body)
        at_ms = int(given["decided_at_ms"])
        if "call" in given:
            return Ask(what=_read_call(given["call"]), decided_at_ms=at_ms)
        return Ask(what=decode_proposal(given["message"].encode()), decided_at_ms=at_ms)
    except (Malformed, ValueError, KeyError, TypeError, AttributeError):
        return None


def encode_end(answer: Answer) -> dict[str, Any]:
    """Write how an ask ended."""
    if isinstance(answer, Effective | Superseded | Expired | Failed):
        tx_hash = None if answer.tx_hash is None else answer.tx_hash.hex()
        return {"outcome": fields_of(answer), "tx_hash": tx_hash}
    refusals = {name: encode_answer(each).decode() for name, each in answer.refusals.items()}
    if isinstance(answer, NoQuorum):
        return {"needed": answer.needed, "given": answer.given, "refusals": refusals}
    signatures = [each.hex() for each in answer.signatures]
    return {"signatures": signatures, "signers": list(answer.signers), "refusals": refusals}


def decode_end(ask: Ask, state: str, given: Mapping[str, Any]) -> Answer:
    """Read how an ask ended."""
    if "outcome" in given:
        tx_hash = None if given["tx_hash"] is None else bytes.fromhex(given["tx_hash"])
        outcome = outcome_from(DeliveryState(state), given["outcome"], tx_hash)
        assert outcome is not None, f"{state} is no end"
        return outcome
    refusals = {name: _refusal(text) for name, text in given["refusals"].items()}
    if "needed" in given:
        return NoQuorum(needed=given["needed"], given=given["given"], refusals=refusals)
    assert isinstance(ask.what, Proposal), "only messages are signed"
    return SignedMessage(
        message=ask.what.message,
        domain=ask.what.domain,
        message_hash=ask.what.digest,
        signatures=tuple(bytes.fromhex(each) for each in given["signatures"]),
        signers=tuple(given["signers"]),
        refusals=refusals,
    )


def end_of(answer: Answer) -> str:
    """Name how an ask ended."""
    if isinstance(answer, NoQuorum):
        return UNSIGNED
    return SIGNED if isinstance(answer, SignedMessage) else state_of(answer).value


def _refusal(text: str) -> Refusal:
    found = decode_answer(text.encode())
    assert isinstance(found, Refusal), "a signature is kept with the signatures"
    return found


def _plain_call(call: ContractCall) -> dict[str, Any]:
    named = None if call.named is None else call.named.hex()
    return {
        "kind": call.kind,
        "chain_id": call.chain_id,
        "contract": call.contract,
        "payload": call.payload.hex(),
        "made_at_ms": call.made_at_ms,
        "valid_until_ms": call.valid_until_ms,
        "named": named,
    }


def _read_call(given: Mapping[str, Any]) -> ContractCall:
    named = given["named"]
    return ContractCall(
        kind=given["kind"],
        chain_id=int(given["chain_id"]),
        contract=str(given["contract"]),
        payload=bytes.fromhex(given["payload"]),
        made_at_ms=int(given["made_at_ms"]),
        valid_until_ms=int(given["valid_until_ms"]),
        named=None if named is None else bytes.fromhex(named),
    )
