"""What is put before the signers, what they know, and what they may answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from contracts.messages import Domain, PriceRound, RiskUpdate, digest
from contracts.units import MarketId, PriceE18, UnixMs

Postable: TypeAlias = PriceRound | RiskUpdate


class RefusalReason(StrEnum):
    """Why a signer does not sign (closed set, a metric's label)."""

    WRONG_CHAIN = "wrong_chain"
    WRONG_CONTRACT = "wrong_contract"
    WRONG_CONFIG = "wrong_config"
    NOT_A_SIGNER = "not_a_signer"
    ROUND_NOT_NEWER = "round_not_newer"
    ROUND_JUMP = "round_jump"
    OBSERVATION_STALE = "observation_stale"
    OBSERVATION_IN_FUTURE = "observation_in_future"
    EXPIRED = "expired"
    VALIDITY_TOO_LONG = "validity_too_long"
    NO_EVIDENCE = "no_evidence"
    MODEL_NOT_ACCEPTED = "model_not_accepted"
    EMPTY = "empty"
    NOT_CANONICAL = "not_canonical"
    UNKNOWN_MARKET = "unknown_market"
    DUPLICATE_MARKET = "duplicate_market"
    CONTRACT_WOULD_SKIP = "contract_would_skip"
    NO_OWN_MARK = "no_own_mark"
    OFF_OWN_MARK = "off_own_mark"
    LOOSER_THAN_OWN = "looser_than_own"
    SIGNED_ANOTHER = "signed_another"
    NO_VIEW = "no_view"
    BAD_SIGNATURE = "bad_signature"
    NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a signer did not sign, and which field of the message made it refuse."""

    reason: RefusalReason
    field: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A whole message in its domain; there is no way to propose a bare digest."""

    message: Postable
    domain: Domain

    @property
    def digest(self) -> bytes:
        """The 32 bytes that a signature is for."""
        return digest(self.message, self.domain)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMark:
    """A market's price as the signer sees it itself."""

    market: MarketId
    price_e18: PriceE18
    observed_at_ms: UnixMs


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerAnswer:
    """A signer's name and its 64 bytes (EIP-2098)."""

    address: str
    signature: bytes


class SignerPort(Protocol):
    """Whoever may sign: in this process or behind a connection."""

    @property
    def name(self) -> str:
        """A short name for metrics and logs."""
        ...

    @property
    def address(self) -> str:
        """The address whose signature it gives, in EIP-55 case."""
        ...

    async def sign(self, proposal: Proposal) -> SignerAnswer | Refusal:
        """Sign, or say why not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMessage:
    """A message with exactly the signatures that its contract asks for, ascending by signer."""

    message: Postable
    domain: Domain
    message_hash: bytes
    signatures: tuple[bytes, ...]
    signers: tuple[str, ...]
    refusals: Mapping[str, Refusal]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoQuorum:
    """Too few signers agreed; `refusals` says why, by the signer's name."""

    needed: int
    given: int
    refusals: Mapping[str, Refusal]
