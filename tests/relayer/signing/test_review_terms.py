"""Facts about terms before a signer: what the market holds now passes, what is looser does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.messages import Adjustment, MarginMode, MessageError, PositionTerms, Side
from contracts.units import LeverageE2, MarketId, Ppm, UnixMs, UsdcE6
from relayer.signing.review import Approve, review
from relayer.signing.values import Proposal, Refusal, RefusalReason, SignerView
from tests.relayer import builders as b

SIGNER = b.RISK_KEYS[0].address
TERMS = PositionTerms(
    observed_at_ms=b.NOW_MS,
    valid_until_ms=UnixMs(b.NOW_MS + 60_000),
    account="0x" + "a1" * 20,
    market=MarketId(0),
    side=Side.LONG,
    margin_mode=MarginMode.ISOLATED,
    adjustment=Adjustment.MANAGED,
    max_notional_e6=UsdcE6(10_000_000_000),
    max_leverage_e2=LeverageE2(1_000),
    maintenance_ppm=Ppm(50_000),
    maintenance_ceiling_ppm=Ppm(80_000),
    risk_score_ppm=Ppm(100_000),
    nonce=1,
    model_hash=b"\xab" * 32,
    evidence_hash=b"\xee" * 32,
)


def judge(view: SignerView | None = None, **changes: Any) -> Approve | Refusal:
    proposal = Proposal(message=replace(TERMS, **changes), domain=b.risk_domain())
    return review(proposal, view or b.signer_view(), b.signer_rules(), SIGNER)


def test_review__terms_that_the_market_holds__are_approved() -> None:
    assert isinstance(judge(), Approve)


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"market": 99}, RefusalReason.UNKNOWN_MARKET, "market"),
        (
            {"max_leverage_e2": 1_001, "maintenance_ppm": 49_000},
            RefusalReason.LOOSER_THAN_OWN,
            "max_leverage_e2",
        ),
        ({"maintenance_ppm": 49_999}, RefusalReason.LOOSER_THAN_OWN, "maintenance_ppm"),
        ({"maintenance_ppm": 50_001}, RefusalReason.CONTRACT_WOULD_REFUSE, "max_leverage_e2"),
        (
            {"maintenance_ceiling_ppm": 49_999},
            RefusalReason.CONTRACT_WOULD_REFUSE,
            "maintenance_ceiling_ppm",
        ),
        ({"model_hash": bytes(32)}, RefusalReason.MODEL_NOT_ACCEPTED, "model_hash"),
        ({"evidence_hash": bytes(32)}, RefusalReason.NO_EVIDENCE, "evidence_hash"),
        (
            {"valid_until_ms": b.NOW_MS + 300_001},
            RefusalReason.VALIDITY_TOO_LONG,
            "valid_until_ms",
        ),
    ],
)
def test_review__terms_with_one_fault__name_it(
    changes: dict[str, Any], reason: RefusalReason, field: str
) -> None:
    verdict = judge(**changes)
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.field) == (reason, field)


def test_review__fixed_terms_below_the_floor__are_looser() -> None:
    oracle = b.oracle_state()
    bounds = {1: replace(b.BOUNDS, floor_maintenance_ppm=Ppm(60_000))}
    view = replace(b.signer_view(), oracle=replace(oracle, bounds=bounds))
    verdict = judge(view, adjustment=Adjustment.FIXED)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is RefusalReason.LOOSER_THAN_OWN
    assert isinstance(judge(view), Approve)  # a managed position follows the market instead


def test_review__expired_parameters__sign_no_terms() -> None:
    oracle = b.oracle_state()
    stale = replace(oracle.markets[0], observed_at_ms=UnixMs(b.NOW_MS - 86_400_000))
    view = replace(b.signer_view(), oracle=replace(oracle, markets=(stale, *oracle.markets[1:])))
    verdict = judge(view)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is RefusalReason.CONTRACT_WOULD_REFUSE


def test_posted__terms__are_never_sent_by_us() -> None:
    with pytest.raises(MessageError, match="desk"):
        assert Proposal(message=TERMS, domain=b.risk_domain()).posted
