"""Facts about the signer's rules: what is sound passes, and each single fault has its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import MAX_ROUND_JUMP
from contracts.halts import DecisionKind
from contracts.messages import Domain
from contracts.packing import pack_price_words, pack_risk_word
from contracts.units import MarketId, Ppm, UnixMs
from relayer.signing.review import Approve, review
from relayer.signing.values import (
    OwnMark,
    Proposal,
    Refusal,
    RefusalReason,
    SignerView,
    Tolerances,
)
from tests.relayer import builders as b

PRICE_SIGNER = b.PRICE_KEYS[0].address
RISK_SIGNER = b.RISK_KEYS[0].address


def judge(proposal: Proposal, view: SignerView | None = None, **rules: Any) -> Approve | Refusal:
    signer = PRICE_SIGNER if proposal.domain.contract == b.PRICE_FEED else RISK_SIGNER
    return review(proposal, view or b.signer_view(), replace(b.signer_rules(), **rules), signer)


def reason(verdict: Approve | Refusal) -> RefusalReason | None:
    return verdict.reason if isinstance(verdict, Refusal) else None


def price(**changes: Any) -> Proposal:
    return b.renewed(b.price_proposal(), **changes)


def risk(**changes: Any) -> Proposal:
    return b.renewed(b.risk_proposal(), **changes)


def test_review__sound_price_round__is_approved_with_its_own_digest() -> None:
    proposal = b.price_proposal()
    assert judge(proposal) == Approve(digest=proposal.digest)


def test_review__sound_risk_update__is_approved() -> None:
    proposal = b.risk_proposal()
    assert judge(proposal) == Approve(digest=proposal.digest)


def elsewhere(**changes: Any) -> Callable[[Proposal], Proposal]:
    def move(proposal: Proposal) -> Proposal:
        fields = {"chain_id": b.CHAIN_ID, "contract": proposal.domain.contract}
        fields |= {"config_digest": proposal.domain.config_digest} | changes
        return Proposal(message=proposal.message, domain=Domain(**fields))

    return move


@pytest.mark.parametrize(
    ("changed", "expected", "field"),
    [
        (elsewhere(chain_id=4326), RefusalReason.WRONG_CHAIN, "chain_id"),
        (elsewhere(contract="0x" + "12" * 20), RefusalReason.WRONG_CONTRACT, "contract"),
        (elsewhere(config_digest=b"\x0d" * 32), RefusalReason.WRONG_CONFIG, "config_digest"),
    ],
)
@pytest.mark.parametrize("proposal", [b.price_proposal(), b.risk_proposal()])
def test_review__another_domain__is_refused(
    proposal: Proposal,
    changed: Callable[[Proposal], Proposal],
    expected: RefusalReason,
    field: str,
) -> None:
    proposed = changed(proposal)
    rules = b.signer_rules()
    verdict = review(proposed, b.signer_view(), rules, RISK_SIGNER)
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.field) == (expected, field)


def test_review__price_round_for_the_risk_contract__is_refused() -> None:
    proposal = Proposal(message=b.price_round(), domain=b.risk_domain())
    assert reason(judge(proposal)) is RefusalReason.WRONG_CONTRACT


@pytest.mark.parametrize("make", [price, risk])
@pytest.mark.parametrize(
    ("changes", "expected", "field"),
    [
        ({"round": 9}, RefusalReason.ROUND_NOT_NEWER, "round"),
        ({"round": 9 + MAX_ROUND_JUMP + 1}, RefusalReason.ROUND_JUMP, "round"),
        (
            {"observed_at_ms": UnixMs(b.NOW_MS + 1_001)},
            RefusalReason.OBSERVATION_IN_FUTURE,
            "observed_at_ms",
        ),
        (
            {"observed_at_ms": UnixMs(b.NOW_MS - 120_001)},
            RefusalReason.OBSERVATION_STALE,
            "observed_at_ms",
        ),
        ({"valid_until_ms": UnixMs(b.NOW_MS - 1)}, RefusalReason.EXPIRED, "valid_until_ms"),
        (
            {"valid_until_ms": UnixMs(b.NOW_MS + 3_600_001)},
            RefusalReason.VALIDITY_TOO_LONG,
            "valid_until_ms",
        ),
        ({"evidence_hash": bytes(32)}, RefusalReason.NO_EVIDENCE, "evidence_hash"),
        ({"words": ()}, RefusalReason.EMPTY, "words"),
        ({"words": (1 << 255,)}, RefusalReason.NOT_CANONICAL, "words"),
    ],
)
def test_review__one_field_wrong__is_refused_by_its_name(
    make: Callable[..., Proposal], changes: dict[str, Any], expected: RefusalReason, field: str
) -> None:
    verdict = judge(make(**changes))
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.field) == (expected, field)


def test_review__not_registered__is_refused() -> None:
    verdict = review(b.price_proposal(), b.signer_view(), b.signer_rules(), RISK_SIGNER)
    assert reason(verdict) is RefusalReason.NOT_A_SIGNER


def test_review__contract_not_read__is_refused() -> None:
    assert reason(judge(price(), replace(b.signer_view(), feed=None))) is RefusalReason.NO_VIEW
    assert reason(judge(risk(), replace(b.signer_view(), oracle=None))) is RefusalReason.NO_VIEW


def words(*quotes: Any) -> tuple[int, ...]:
    return pack_price_words(quotes, b.NOW_MS)


def test_review__market_that_the_contract_does_not_have__is_refused() -> None:
    assert reason(judge(price(words=words(b.quote(4))))) is RefusalReason.UNKNOWN_MARKET
    proposal = risk(words=(pack_risk_word(b.parameters(4)),))
    assert reason(judge(proposal)) is RefusalReason.UNKNOWN_MARKET


def test_review__market_twice__is_refused() -> None:
    one = pack_risk_word(b.parameters(1))
    assert reason(judge(risk(words=(one, one)))) is RefusalReason.DUPLICATE_MARKET
    word = words(b.quote(1))[0]
    assert reason(judge(price(words=(word, word)))) is RefusalReason.NOT_CANONICAL


def test_review__no_own_mark__is_refused() -> None:
    view = replace(b.signer_view(), marks={})
    assert reason(judge(price(), view)) is RefusalReason.NO_OWN_MARK


def test_review__own_mark_is_old__is_refused() -> None:
    old = OwnMark(market=MarketId(0), price_e18=b.PRICE, observed_at_ms=UnixMs(b.NOW_MS - 10_001))
    view = replace(b.signer_view(), marks={MarketId(0): old})
    assert reason(judge(price(words=words(b.quote(0))), view)) is RefusalReason.NO_OWN_MARK


@given(off_ppm=st.integers(-20_000, 20_000))
@settings(max_examples=80, deadline=None)
def test_review__price_off_the_own_mark__is_refused_beyond_the_tolerance(off_ppm: int) -> None:
    proposed = b.PRICE * (1_000_000 + off_ppm) // 1_000_000
    verdict = judge(price(words=words(b.quote(0, proposed))))
    # Tolerance 5,000 ppm and the quote's own confidence of 100; packing rounds off less than 1 ppm.
    if abs(off_ppm) <= 5_099:
        assert isinstance(verdict, Approve)
    elif abs(off_ppm) >= 5_102:
        assert isinstance(verdict, Refusal)
        assert verdict.reason is RefusalReason.OFF_OWN_MARK
        assert verdict.field == "price of market 0"


def test_review__true_jump_out_of_the_band__is_approved_so_that_the_market_is_marked() -> None:
    jumped = b.PRICE * 12 // 10
    own = OwnMark(market=MarketId(0), price_e18=jumped, observed_at_ms=b.NOW_MS)  # type: ignore[arg-type]
    view = replace(b.signer_view(), marks={MarketId(0): own})
    assert isinstance(judge(price(words=words(b.quote(0, jumped))), view), Approve)


def test_review__item_older_than_the_contracts_last__is_refused() -> None:
    verdict = judge(price(words=words(b.quote(0, age_ms=6_000))))
    assert isinstance(verdict, Refusal)
    assert verdict.reason is RefusalReason.CONTRACT_WOULD_REFUSE
    assert verdict.detail == "OLDER_OBSERVATION"


def test_review__incoherent_tuple__is_refused() -> None:
    loose = replace(b.parameters(0), maintenance_ppm=Ppm(1_000))
    verdict = judge(risk(words=(pack_risk_word(loose),)))
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.detail) == (
        RefusalReason.CONTRACT_WOULD_REFUSE,
        "TUPLE_INCOHERENT",
    )


@pytest.mark.parametrize(
    ("cap_e2", "detail"),
    [(5_001, "CAP_OUT_OF_BOUNDS"), (1_100, "CAP_STEP_TOO_LARGE"), (400, "CAP_STEP_TOO_LARGE")],
)
def test_review__cap_beyond_bounds_or_step__is_refused(cap_e2: int, detail: str) -> None:
    verdict = judge(risk(words=(pack_risk_word(b.parameters(2, cap_e2)),)))
    assert isinstance(verdict, Refusal)
    assert (verdict.field, verdict.detail) == ("words: market 2", detail)


def test_review__loosening_too_soon__is_refused() -> None:
    view = b.signer_view()
    assert view.oracle is not None
    young = replace(view.oracle.markets[0], changed_at_s=b.NOW_S)
    view = replace(view, oracle=replace(view.oracle, markets=(young,)))
    verdict = judge(risk(words=(pack_risk_word(b.parameters(0, 1_040)),)), view)
    assert isinstance(verdict, Refusal)
    assert verdict.detail == "TOO_SOON"


def test_review__risk_updates_switched_off__is_refused() -> None:
    view = b.signer_view()
    assert view.oracle is not None
    kinds = frozenset({DecisionKind.RISK_UPDATE})
    controls = replace(view.oracle.controls, disabled_kinds=kinds)
    view = replace(view, oracle=replace(view.oracle, controls=controls))
    verdict = judge(risk(), view)
    assert isinstance(verdict, Refusal)
    assert verdict.detail == "DECISION_KIND_DISABLED"


def test_review__model_not_on_the_list__is_refused() -> None:
    models = frozenset({b"\x01" * 32})
    assert reason(judge(risk(), accepted_models=models)) is RefusalReason.MODEL_NOT_ACCEPTED
    assert reason(judge(risk(model_hash=bytes(32)))) is RefusalReason.MODEL_NOT_ACCEPTED
    assert reason(judge(risk(), accepted_models=frozenset({b"\xab" * 32}))) is None


NARROW = Tolerances(
    cap_ppm=10_000, open_interest_cap_ppm=10_000, size_scale_ppm=10_000, spread_ppm=10_000
)


def test_review__own_decision_is_tighter__looser_is_refused_and_tighter_passes() -> None:
    own = {MarketId(m): b.parameters(m, 930) for m in range(4)}
    view = replace(b.signer_view(), derived=own)
    verdict = judge(b.risk_proposal(), view)
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.field) == (RefusalReason.LOOSER_THAN_OWN, "cap_e2 of market 0")
    tight = b.risk_proposal(b.risk_update(cap_e2=900))
    assert isinstance(judge(tight, view), Approve)


@pytest.mark.parametrize(
    "change",
    [
        {"open_interest_cap_usdc": 1_020_000},
        {"size_scale_usdc": 102_000},
        {"spread_ppm": Ppm(480)},
        {"reduce_only": False},
    ],
)
def test_review__each_field_looser_than_own__is_named(change: dict[str, Any]) -> None:
    own = replace(b.parameters(0), reduce_only="reduce_only" in change)
    view = replace(b.signer_view(), derived={MarketId(0): own})
    words = (pack_risk_word(replace(own, **change)),)
    verdict = judge(risk(words=words), view, tolerances=NARROW)
    assert isinstance(verdict, Refusal)
    (name,) = change
    assert (verdict.reason, verdict.field) == (
        RefusalReason.LOOSER_THAN_OWN,
        f"{name} of market 0",
    )


def test_review__no_own_decision_for_a_market__is_refused() -> None:
    view = replace(b.signer_view(), derived={}, underived={MarketId(0): "warming_up: 2 days"})
    verdict = judge(risk(), view)
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.detail) == (
        RefusalReason.NO_OWN_DECISION,
        "warming_up: 2 days",
    )


def test_review__no_own_decision_and_none_needed__the_limits_alone_are_checked() -> None:
    view = replace(b.signer_view(), derived={})
    assert isinstance(judge(risk(), view, needs_own_decision=False), Approve)


def test_review__within_the_tolerance__is_signed() -> None:
    own = {MarketId(m): b.parameters(m, 960) for m in range(4)}
    view = replace(b.signer_view(), derived=own)
    assert isinstance(judge(b.risk_proposal(), view), Approve)
