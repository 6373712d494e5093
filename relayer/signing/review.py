"""What a signer checks before it signs: pure rules over a proposal, its own view and its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Final

from contracts.envelope import Configuration
from contracts.messages import PositionAction, PositionTerms, PriceRound, RiskUpdate
from contracts.packing import (
    MarketParameters,
    PackingError,
    PriceQuote,
    unpack_price_words,
    unpack_risk_word,
)
from contracts.price_feed import FeedState, apply_round
from contracts.refusals import Refusal as Guard
from contracts.refusals import Skip
from contracts.risk_oracle import OracleState, apply_update
from contracts.units import PPM, seconds_floor
from relayer.signing.review_actions import wrong_action
from relayer.signing.review_impact import wrong_impact
from relayer.signing.review_terms import wrong_terms
from relayer.signing.values import (
    Proposal,
    Refusal,
    RefusalReason,
    Signable,
    SignerRules,
    SignerView,
)

_GUARDS: Final[Mapping[Guard, tuple[RefusalReason, str]]] = MappingProxyType(
    {
        Guard.STALE_ROUND: (RefusalReason.ROUND_NOT_NEWER, "round"),
        Guard.ROUND_JUMP: (RefusalReason.ROUND_JUMP, "round"),
        Guard.NO_WHOLE_WORDS: (RefusalReason.EMPTY, "words"),
        Guard.FROM_THE_FUTURE: (RefusalReason.OBSERVATION_IN_FUTURE, "observed_at_ms"),
        Guard.OBSERVATION_TOO_OLD: (RefusalReason.OBSERVATION_STALE, "observed_at_ms"),
        Guard.OBSERVATION_OUT_OF_RANGE: (RefusalReason.OBSERVATION_STALE, "observed_at_ms"),
        Guard.EXPIRED: (RefusalReason.EXPIRED, "valid_until_ms"),
        Guard.VALIDITY_TOO_LONG: (RefusalReason.VALIDITY_TOO_LONG, "valid_until_ms"),
        Guard.NOT_CANONICAL: (RefusalReason.NOT_CANONICAL, "words"),
        Guard.UNKNOWN_MARKET: (RefusalReason.UNKNOWN_MARKET, "words"),
    }
)
# A true jump has to reach the contract, which does not take the price and marks the market as
# unconfirmed: no new risk at the old price. Own mark and tolerance say that the jump is true.
_WELCOME_SKIPS: Final = frozenset({Guard.OUT_OF_BAND})
_FURTHER: Final = 7  # objections that a refusal names beside its first


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve:
    """Nothing speaks against signing; `digest` is of the message that was judged."""

    digest: bytes


def review(
    proposal: Proposal, view: SignerView, rules: SignerRules, signer: str
) -> Approve | Refusal:
    """Judge a proposal; the first objection counts, cheapest first, and names others beside it."""
    objections = _objections(proposal, view, rules, signer)
    first = next(objections, None)
    if first is None:
        return Approve(digest=proposal.digest)
    return replace(first, also=tuple(islice(objections, _FURTHER)))


def _objections(
    proposal: Proposal, view: SignerView, rules: SignerRules, signer: str
) -> Iterator[Refusal]:
    message = proposal.message
    misplaced = tuple(_wrong_place(proposal, view, rules))
    if misplaced:
        yield from misplaced  # what it says of this contract's markets means nothing there
        return
    state = view.feed if isinstance(message, PriceRound) else view.oracle
    if state is None:
        yield _refuse(RefusalReason.NO_VIEW, "contract", "its state was not read")
        return
    yield from _wrong_config(proposal, state.config, signer)
    yield from _wrong_times(message, view, rules)
    if isinstance(message, PriceRound):
        assert isinstance(state, FeedState)
        yield from _wrong_prices(message, state, view, rules)
        return
    assert isinstance(state, OracleState)
    yield from _wrong_model(message, rules)
    if isinstance(message, PositionTerms):
        yield from wrong_terms(message, state, view)
    elif isinstance(message, PositionAction):
        yield from wrong_action(message, state, view)
    else:
        yield from _wrong_parameters(message, state, view, rules)


def _refuse(reason: RefusalReason, field: str, detail: str) -> Refusal:
    return Refusal(reason=reason, field=field, detail=detail)


def _wrong_place(proposal: Proposal, view: SignerView, rules: SignerRules) -> Iterator[Refusal]:
    domain = proposal.domain
    if domain.chain_id != view.chain_id:
        detail = f"proposed {domain.chain_id}, own endpoint {view.chain_id}"
        yield _refuse(RefusalReason.WRONG_CHAIN, "chain_id", detail)
    price = isinstance(proposal.message, PriceRound)
    contract = rules.price_feed if price else rules.risk_oracle
    if domain.contract != contract:
        detail = f"proposed {domain.contract}, configured {contract}"
        yield _refuse(RefusalReason.WRONG_CONTRACT, "contract", detail)


def _wrong_config(proposal: Proposal, config: Configuration, signer: str) -> Iterator[Refusal]:
    if proposal.domain.config_digest != config.config_digest:
        detail = f"the contract has 0x{config.config_digest.hex()} (count {config.config_count})"
        yield _refuse(RefusalReason.WRONG_CONFIG, "config_digest", detail)
    if signer not in config.signers:
        yield _refuse(RefusalReason.NOT_A_SIGNER, "signer", f"{signer} is not registered")


def _wrong_times(message: Signable, view: SignerView, rules: SignerRules) -> Iterator[Refusal]:
    price = isinstance(message, PriceRound)
    age_ms = view.now_ms - message.observed_at_ms
    longest = rules.max_price_age_ms if price else rules.max_risk_age_ms
    if age_ms > longest:
        detail = f"{age_ms} ms old, at most {longest}"
        yield _refuse(RefusalReason.OBSERVATION_STALE, "observed_at_ms", detail)
    if -age_ms > rules.future_tolerance_ms:
        detail = f"{-age_ms} ms ahead of the own clock, at most {rules.future_tolerance_ms}"
        yield _refuse(RefusalReason.OBSERVATION_IN_FUTURE, "observed_at_ms", detail)
    if message.valid_until_ms < view.now_ms:
        yield _refuse(RefusalReason.EXPIRED, "valid_until_ms", "is over by the own clock")
    validity_ms = message.valid_until_ms - message.observed_at_ms
    horizon = rules.max_price_validity_ms if price else rules.max_risk_validity_ms
    if isinstance(message, PositionTerms | PositionAction):
        horizon = rules.max_terms_validity_ms
    if validity_ms > horizon:
        detail = f"{validity_ms} ms after the observation, at most {horizon}"
        yield _refuse(RefusalReason.VALIDITY_TOO_LONG, "valid_until_ms", detail)
    if not any(message.evidence_hash):
        yield _refuse(RefusalReason.NO_EVIDENCE, "evidence_hash", "is zero")


def _wrong_prices(
    message: PriceRound, feed: FeedState, view: SignerView, rules: SignerRules
) -> Iterator[Refusal]:
    try:
        quotes = unpack_price_words(message.words, message.observed_at_ms)
    except PackingError as exc:
        yield _refuse(RefusalReason.NOT_CANONICAL, "words", str(exc))
        return
    result = view.applied or apply_round(feed, message, seconds_floor(view.now_ms))
    yield from _guarded(result if isinstance(result, Guard) else result.skipped)
    for quote in quotes:
        yield from _wrong_price(quote, view, rules)


def _wrong_price(quote: PriceQuote, view: SignerView, rules: SignerRules) -> Iterator[Refusal]:
    name = f"price of market {quote.market}"
    age_ms = view.now_ms - quote.observed_at_ms
    if age_ms > rules.max_price_age_ms:
        detail = f"{age_ms} ms old, at most {rules.max_price_age_ms}"
        yield _refuse(RefusalReason.OBSERVATION_STALE, name, detail)
    own = view.marks.get(quote.market)
    if own is None or view.now_ms - own.observed_at_ms > rules.max_mark_age_ms:
        yield _refuse(RefusalReason.NO_OWN_MARK, name, "no own mark, or none that is fresh")
        return
    off_ppm = abs(quote.price_e18 - own.price_e18) * PPM // own.price_e18
    allowed_ppm = rules.price_tolerance_ppm + quote.confidence_ppm
    if off_ppm > allowed_ppm:
        detail = f"{off_ppm} ppm from the own mark {own.price_e18}, at most {allowed_ppm}"
        yield _refuse(RefusalReason.OFF_OWN_MARK, name, detail)


def _wrong_model(
    message: RiskUpdate | PositionTerms | PositionAction, rules: SignerRules
) -> Iterator[Refusal]:
    models = rules.accepted_models
    if not any(message.model_hash) or (models is not None and message.model_hash not in models):
        detail = f"0x{message.model_hash.hex()} is not accepted"
        yield _refuse(RefusalReason.MODEL_NOT_ACCEPTED, "model_hash", detail)


def _wrong_parameters(
    message: RiskUpdate, oracle: OracleState, view: SignerView, rules: SignerRules
) -> Iterator[Refusal]:
    try:
        items = [unpack_risk_word(word) for word in message.words]
    except PackingError as exc:
        yield _refuse(RefusalReason.NOT_CANONICAL, "words", str(exc))
        return
    if len({item.market for item in items}) != len(items):
        yield _refuse(RefusalReason.DUPLICATE_MARKET, "words", "a market stands there twice")
    result = view.applied or apply_update(oracle, message, seconds_floor(view.now_ms))
    yield from _guarded(result if isinstance(result, Guard) else result.skipped)
    for item in items if view.derived is not None else ():
        own = view.derived.get(item.market) if view.derived else None
        if own is not None:
            yield from _looser(item, own, rules)
        elif rules.needs_own_decision:
            name = f"parameters of market {item.market}"
            why = view.underived.get(item.market, view.underived_else) or "none was made"
            yield _refuse(RefusalReason.NO_OWN_DECISION, name, why)
    yield from wrong_impact(view.impact, rules)


def _looser(item: MarketParameters, own: MarketParameters, rules: SignerRules) -> Iterator[Refusal]:
    """Object to what is looser than the own decision by more than its tolerance; tighter passes."""
    allowed = rules.tolerances
    higher_is_looser = {
        "cap_e2": (item.cap_e2, own.cap_e2, allowed.cap_ppm),
        "open_interest_cap_usdc": (
            item.open_interest_cap_usdc,
            own.open_interest_cap_usdc,
            allowed.open_interest_cap_ppm,
        ),
        "size_scale_usdc": (item.size_scale_usdc, own.size_scale_usdc, allowed.size_scale_ppm),
        "maintenance_ppm": (own.maintenance_ppm, item.maintenance_ppm, allowed.cap_ppm),
        "spread_ppm": (own.spread_ppm, item.spread_ppm, allowed.spread_ppm),
        "reduce_only": (int(own.reduce_only), int(item.reduce_only), 0),
    }
    for field, (loose, tight, tolerance_ppm) in higher_is_looser.items():
        if loose * PPM > tight * (PPM + tolerance_ppm):
            proposed, ours = getattr(item, field), getattr(own, field)
            detail = f"proposed {proposed}, own {ours}, tolerance {tolerance_ppm} ppm"
            yield _refuse(RefusalReason.LOOSER_THAN_OWN, f"{field} of market {item.market}", detail)


def _guarded(judged: Guard | Sequence[Skip]) -> Iterator[Refusal]:
    """Say which of the contract's own guards the batch, or an item of it, would meet."""
    if isinstance(judged, Guard):
        reason, field = _GUARDS.get(judged, (RefusalReason.CONTRACT_WOULD_REFUSE, "message"))
        yield _refuse(reason, field, judged.name)
        return
    for skip in judged:
        if skip.refusal not in _WELCOME_SKIPS:
            reason, _ = _GUARDS.get(skip.refusal, (RefusalReason.CONTRACT_WOULD_REFUSE, ""))
            yield _refuse(reason, f"words: market {skip.market}", skip.refusal.name)
