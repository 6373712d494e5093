"""Facts about what a signer checks of an action: what the contract would do now, and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.book_words import Account, position_id
from contracts.messages import ActionKind, PositionAction
from contracts.units import MarketId, Ppm, UnixMs
from relayer.signing.review import Approve, review
from relayer.signing.values import OwnPosition, Proposal, Refusal, RefusalReason, SignerView
from tests.relayer import builders as b

E18, USDC = 10**18, 10**6
# Ten of 100 USDC each at a ratio of 5 %: 1,000 USDC that need 50.
HELD = OwnPosition(
    size_e18=10 * E18,
    long=True,
    managed=True,
    equity_e6=49 * USDC,
    maintenance_e6=50 * USDC,
    own_maintenance_e6=50 * USDC,
    ratio_ppm=50_000,
    ceiling_ppm=90_000,
    version=7,
    price_e18=100 * E18,
)
ACTION = PositionAction(
    observed_at_ms=b.NOW_MS,
    valid_until_ms=UnixMs(b.NOW_MS + 60_000),
    position_id=position_id(Account(0xABC), MarketId(1), 1),
    position_version=7,
    kind=ActionKind.LIQUIDATE,
    maintenance_ppm=Ppm(0),
    max_size_e18=10 * E18,
    price_bound_e18=0,
    model_hash=b"\xab" * 32,
    evidence_hash=b"\xee" * 32,
)
ADJUST = replace(ACTION, kind=ActionKind.ADJUST, maintenance_ppm=Ppm(60_000), max_size_e18=0)
DELEVERAGE = replace(ACTION, kind=ActionKind.DELEVERAGE)


def judged(action: PositionAction, held: OwnPosition | None = HELD) -> Approve | Refusal:
    view: SignerView = replace(b.signer_view(), position=held)
    proposal = Proposal(message=action, domain=b.risk_domain())
    return review(proposal, view, b.signer_rules(), b.RISK_KEYS[0].address)


@pytest.mark.parametrize(
    ("action", "held"),
    [
        (ACTION, {}),
        (ADJUST, {}),
        (DELEVERAGE, {"equity_e6": 89 * USDC}),  # below what it needs at its ceiling
    ],
)
def test_action__what_the_contract_would_do__is_signed(
    action: PositionAction, held: dict[str, Any]
) -> None:
    assert isinstance(judged(action, replace(HELD, **held)), Approve)


@pytest.mark.parametrize(
    ("action", "held", "reason", "field"),
    [
        (ACTION, {"equity_e6": 50 * USDC}, RefusalReason.TRIGGER_GONE, "kind"),
        (ACTION, {"version": 8}, RefusalReason.NOT_ITS_VERSION, "position_version"),
        (ACTION, {"size_e18": 9 * E18}, RefusalReason.NOT_CANONICAL, "max_size_e18"),
        (ACTION, {"size_e18": 0}, RefusalReason.NO_POSITION, "position_id"),
        (DELEVERAGE, {"equity_e6": 90 * USDC}, RefusalReason.TRIGGER_GONE, "kind"),
        (DELEVERAGE, {"managed": False}, RefusalReason.CONTRACT_WOULD_REFUSE, "kind"),
        (ADJUST, {"managed": False}, RefusalReason.CONTRACT_WOULD_REFUSE, "kind"),
        (ADJUST, {"ceiling_ppm": 59_999}, RefusalReason.CONTRACT_WOULD_REFUSE, "maintenance_ppm"),
        (
            replace(ADJUST, maintenance_ppm=Ppm(100_001)),
            {"ceiling_ppm": 200_000},
            RefusalReason.LOOSER_THAN_OWN,
            "maintenance_ppm",
        ),
        (
            replace(ACTION, price_bound_e18=101 * E18),
            {},
            RefusalReason.CONTRACT_WOULD_REFUSE,
            "price_bound_e18",
        ),
    ],
)
def test_action__anything_else__is_refused_and_names_the_field(
    action: PositionAction, held: dict[str, Any], reason: RefusalReason, field: str
) -> None:
    verdict = judged(action, replace(HELD, **held))
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.field) == (reason, field)


def test_action__position_was_not_read__is_refused() -> None:
    verdict = judged(ACTION, None)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is RefusalReason.NO_VIEW


def test_action__valid_for_longer_than_terms_may__is_refused() -> None:
    verdict = judged(replace(ACTION, valid_until_ms=UnixMs(b.NOW_MS + 300_001)))
    assert isinstance(verdict, Refusal)
    assert verdict.reason is RefusalReason.VALIDITY_TOO_LONG
