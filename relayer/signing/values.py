"""What is put before the signers, what they know, and what they may answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from contracts.fields import checksummed
from contracts.messages import (
    Domain,
    MessageError,
    PositionAction,
    PositionTerms,
    PriceRound,
    RiskUpdate,
    digest,
)
from contracts.packing import MarketParameters
from contracts.price_feed import FeedState, RoundResult
from contracts.refusals import Refusal as Guard
from contracts.risk_oracle import OracleState, UpdateResult
from contracts.units import MarketId, PriceE18, UnixMs

Postable: TypeAlias = PriceRound | RiskUpdate
# Terms are taken to the contract by their trader, an action by anybody: neither has a round.
Signable: TypeAlias = Postable | PositionTerms | PositionAction


def postable(message: Signable) -> Postable:
    """Give a message that has a round; terms are their trader's to bring, actions the keeper's."""
    if isinstance(message, PositionTerms):
        raise MessageError("position terms are not posted: their account takes them to the desk")
    if isinstance(message, PositionAction):
        raise MessageError("position actions are not posted: a keeper takes them to the liquidator")
    return message


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
    CONTRACT_WOULD_REFUSE = "contract_would_refuse"
    NO_OWN_MARK = "no_own_mark"
    OFF_OWN_MARK = "off_own_mark"
    LOOSER_THAN_OWN = "looser_than_own"
    SIGNED_ANOTHER = "signed_another"
    NO_OWN_DECISION = "no_own_decision"
    NO_VIEW = "no_view"
    NO_MEMORY = "no_memory"
    NO_KEY = "no_key"
    BAD_SIGNATURE = "bad_signature"
    NO_ANSWER = "no_answer"
    NO_POSITION = "no_position"
    NOT_ITS_VERSION = "not_its_version"
    TRIGGER_GONE = "trigger_gone"
    IMPACT_BEYOND_BUDGET = "impact_beyond_budget"
    IMPACT_TOO_FAST = "impact_too_fast"
    IMPACT_UNKNOWN = "impact_unknown"
    # What a signer's door says, before anybody looks at a message.
    UNAUTHENTICATED = "unauthenticated"
    REPLAYED = "replayed"
    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """What a signer has against one field of a message."""

    reason: RefusalReason
    field: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Objection):
    """Why a signer did not sign: the first objection, cheapest first, and what else it has."""

    also: tuple[Objection, ...] = ()

    def __iter__(self) -> Iterator[Objection]:
        """Go through all objections, the first one first."""
        yield self
        yield from self.also


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A whole message in its domain; there is no way to propose a bare digest."""

    message: Signable
    domain: Domain
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Compute what a signature is for, here and from the message alone."""
        object.__setattr__(self, "digest", digest(self.message, self.domain))

    @property
    def posted(self) -> Postable:
        """The message, as one that anybody posts."""
        return postable(self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMark:
    """A market's price as the signer sees it itself."""

    market: MarketId
    price_e18: PriceE18
    observed_at_ms: UnixMs


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPosition:
    """A position as the signer's own endpoint has it; size 0 where there is none."""

    size_e18: int
    long: bool
    managed: bool
    equity_e6: int  # isolated: the position's; cross: the account's
    maintenance_e6: int  # of the same
    own_maintenance_e6: int  # of this position alone
    ratio_ppm: int
    ceiling_ppm: int
    version: int
    price_e18: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStep:
    """What one market's item asks of open positions, as a signer counts it in its own books.

    `used_ppm` of its budget for a market; `least_ramp_s`: what its ramp may not be shorter than.
    `released`: an operator approved this item at this signer.
    """

    used_ppm: int
    ramp_s: int
    least_ramp_s: int
    detail: str
    released: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImpact:
    """An update's steps by market, and what all that goes together takes of a cycle's budget.

    `unknown`: why it could not be counted; empty where it was.
    """

    steps: Mapping[MarketId, OwnStep] = field(default_factory=dict)
    together_ppm: int = 0
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerView:
    """What a signer knows by itself: its clock, the contracts at a block, its own market view.

    `feed` is needed for price rounds, `oracle` for all else. `derived` are the parameters that
    the signer would allow at most by its own decision; None: it does not decide, and only the
    limits bind. `underived` says why there are none of a market, `underived_else` of the rest.
    `applied` is what the contract's mirror makes of the proposal in this view, where whoever made
    the view has asked it already; None: the review asks. `impact` is what the signer counts that
    the proposal does to open positions; None: it does not count.
    """

    now_ms: UnixMs
    chain_id: int
    feed: FeedState | None = None
    oracle: OracleState | None = None
    marks: Mapping[MarketId, OwnMark] = field(default_factory=dict)
    derived: Mapping[MarketId, MarketParameters] | None = None
    underived: Mapping[MarketId, str] = field(default_factory=dict)
    underived_else: str = ""
    applied: RoundResult | UpdateResult | Guard | None = None
    position: OwnPosition | None = None
    impact: OwnImpact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """By how much of its own value a field may be looser than the signer's own; tighter passes.

    Two that look at other venues a few seconds apart differ little in the tail and much in depth.
    """

    cap_ppm: int = 50_000  # of the cap, and of the maintenance that follows from it
    open_interest_cap_ppm: int = 250_000
    size_scale_ppm: int = 250_000
    spread_ppm: int = 250_000
    impact_ppm: int = 250_000  # of the impact budgets: counted a few seconds and prices later


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerRules:
    """How far a signer lets a proposal differ from what it knows.

    The contracts' own limits bind anyway; these may only be narrower. `price_tolerance_ppm` counts
    beside the confidence that the quote itself admits.
    """

    price_feed: str
    risk_oracle: str
    max_price_age_ms: int = 10_000
    max_risk_age_ms: int = 120_000
    future_tolerance_ms: int = 1_000
    max_price_validity_ms: int = 120_000
    max_risk_validity_ms: int = 3_600_000
    max_terms_validity_ms: int = 300_000
    max_mark_age_ms: int = 10_000
    price_tolerance_ppm: int = 5_000
    tolerances: Tolerances = Tolerances()
    needs_own_decision: bool = True  # of each market, where the signer decides at all
    accepted_models: frozenset[bytes] | None = None  # None: the owner's policy names no list

    def __post_init__(self) -> None:
        """Write the addresses as messages do."""
        for name in ("price_feed", "risk_oracle"):
            object.__setattr__(self, name, checksummed(getattr(self, name)))


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

    message: Signable
    domain: Domain
    message_hash: bytes
    signatures: tuple[bytes, ...]
    signers: tuple[str, ...]
    refusals: Mapping[str, Refusal]

    @property
    def posted(self) -> Postable:
        """The message, as one that anybody posts."""
        return postable(self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoQuorum:
    """Too few signers agreed; `refusals` says why, by the signer's name."""

    needed: int
    given: int
    refusals: Mapping[str, Refusal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field on which signers differ from a proposal: who, and what each says of it."""

    field: str
    said: Mapping[str, str]


def differences(refusals: Mapping[str, Refusal]) -> Sequence[Difference]:
    """Turn refusals by signer into differences by field, in the order of the fields' names."""
    by_field: dict[str, dict[str, str]] = {}
    for name, refusal in sorted(refusals.items()):
        for objection in refusal:
            said = f"{objection.reason}: {objection.detail}"
            by_field.setdefault(objection.field, {})[name] = said
    return tuple(Difference(field=f, said=said) for f, said in sorted(by_field.items()))
