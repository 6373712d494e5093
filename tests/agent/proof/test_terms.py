"""Terms reproduce from their evidence alone, and a changed byte of it is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.config import load_settings
from agent.errors import EvidenceError
from agent.proof.hours import decode_hours
from agent.proof.terms import verify_kept, verify_terms
from agent.quoting.desk import evidence_of
from agent.quoting.offer import Offer, quote
from agent.quoting.risk import Forecasts
from contracts.messages import Adjustment, MarginMode, Side
from models.accounts import AccountScore
from models.artifact import default_artifact, load
from models.risk_heads import RiskHeads
from relayer.evidence import QUOTES, EvidenceStore, unpack
from tests.agent.quotes import ask, ground
from tests.agent.quoting.test_risk import later, taken, together
from tests.contracts.books import Walk, opened_book, readings

SCORE = AccountScore(account=0, risk=0.2, multiplier=0.8, has_history=True)


def recorded(wish, footing) -> dict:
    """Evidence as it is read back."""
    offer = quote(wish, footing)
    assert isinstance(offer, Offer)
    return json.loads(json.dumps(evidence_of(offer, footing)))


@pytest.mark.parametrize("mode", MarginMode)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("adjustment", Adjustment)
def test_terms__from_evidence__reproduce(mode, side, adjustment) -> None:
    wish = ask(mode=mode, side=side, adjustment=adjustment)
    assert verify_terms(recorded(wish, ground(score=SCORE)), None) == ()


def test_terms__books_with_a_past__reproduce() -> None:
    walk = Walk(2)
    for _ in range(200):
        walk.step()
    now_ms = walk.seen.now_s * 1_000
    base = ground(walk.book, walk.seen)
    footing = replace(base, now_ms=now_ms, assessment=replace(base.assessment, as_of_ms=now_ms))
    reproduced = 0
    for market in (0, 1, 2):
        wish = ask(market=market, leverage_e2=200)
        if isinstance(quote(wish, footing), Offer):
            assert verify_terms(recorded(wish, footing), None) == ()
            reproduced += 1
    assert reproduced


def cross_of_two() -> tuple[dict, RiskHeads]:
    """Terms of an account that several markets carry, and the heads that judged it."""
    heads = load(default_artifact()).risks
    known = {"forecasts": Forecasts(heads=heads, markets=together())}
    book, seen = opened_book(), readings()
    first = quote(ask(mode=MarginMode.CROSS, leverage_e2=1_500), ground(book, seen, **known))
    assert isinstance(first, Offer)
    book, seen = taken(first, book, seen), later(seen)
    wish = ask(mode=MarginMode.CROSS, market=1, leverage_e2=1_500)
    fields = recorded(wish, ground(book, seen, now_ms=first.terms.nonce + 5, **known))
    assert fields["chance_method"] == "joint_simulation"
    return fields, heads


def test_terms__cross_in_several_markets__the_risk_score_is_simulated_again() -> None:
    fields, heads = cross_of_two()
    assert set(fields["hours"]) == {"0", "1"}
    assert verify_terms(fields, heads) == ()
    better = {**fields["terms"], "risk_score_ppm": "1"}
    found = verify_terms({**fields, "terms": better}, heads)
    assert [each.field for each in found] == ["terms.risk_score_ppm"]


def test_terms__other_hours_than_it_was_simulated_on__are_named() -> None:
    fields, heads = cross_of_two()
    hours = fields["hours"]["1"]
    wild = {**hours, "deviations": [4 * each for each in hours["deviations"]]}
    found = verify_terms({**fields, "hours": {**fields["hours"], "1": wild}}, heads)
    assert [each.field for each in found] == ["terms.risk_score_ppm"]
    without = verify_terms({**fields, "hours": None}, heads)
    assert "chance_method" in [each.field for each in without]


def test_hours__not_what_was_written__are_refused_in_a_sentence() -> None:
    for content in ({"0": {}}, {"x": {"returns": [], "deviations": []}}, {}):
        with pytest.raises(EvidenceError, match="no readable hours"):
            decode_hours(content)


def test_terms__another_score__the_cap_is_named() -> None:
    fields = recorded(ask(), ground(score=SCORE))
    fields["account_score"]["multiplier"] = 1.0
    named = {each.field for each in verify_terms(fields, None)}
    assert "terms.max_leverage_e2" in named


def test_terms__more_leverage_than_offered__is_named() -> None:
    fields = recorded(ask(), ground(score=SCORE))
    fields["terms"]["max_leverage_e2"] = "9900"
    assert [each.field for each in verify_terms(fields, None)] == ["terms.max_leverage_e2"]


def test_terms__would_be_refused__says_so() -> None:
    fields = recorded(ask(), ground(score=SCORE))
    fields["ask"]["leverage_e2"] = "9900"
    (found,) = verify_terms(fields, None)
    assert found.recomputed.startswith("refused: leverage_above_account_cap")


def test_kept__past_its_retention__says_so(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="past its retention"):
        verify_kept(load_settings("local"), bytes(32), tmp_path)


def test_kept__of_a_round__is_refused_by_kind(tmp_path: Path) -> None:
    digest = EvidenceStore(tmp_path, QUOTES).put({"kind": "price"})
    assert unpack(EvidenceStore(tmp_path).get_bundle(digest))["kind"] == "price"
    with pytest.raises(EvidenceError, match="no readable terms"):
        verify_kept(load_settings("local"), digest, tmp_path)
