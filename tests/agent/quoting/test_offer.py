"""An offer is what engine and desk accept; a refusal names its guard, and what passes instead."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.decisions import HoldReason
from agent.judge import Judgement, Rules, judge
from agent.proof.record import encode_judgement
from agent.quoting.assessment import (
    Blocked,
    assessment_from,
    assessment_of,
    blocked,
)
from agent.quoting.offer import NoOffer, Offer, quote
from agent.quoting.trial import Ask
from agent.snapshot import snapshot_of
from contracts import book_desk, book_money
from contracts.book import Book
from contracts.book_margin import standing
from contracts.book_readings import MAY_CLOSE, Readings
from contracts.book_views import position_liquidation_price
from contracts.book_words import account_number
from contracts.margin import is_liquidatable
from contracts.messages import Adjustment, MarginMode, Side
from contracts.units import PPM, maintenance_from_cap
from models.accounts import AccountScore
from tests.agent import builders
from tests.agent.quotes import CALM, NOW_MS, TRADER, ask, assessment, ground
from tests.contracts.books import KEEPER, RULES, Walk, opened_book, readings
from tests.contracts.margins import e18, usd


def taken(offer: Offer, book: Book, seen: Readings) -> Book:
    """Deposit, request under the terms, and execute at the same price, as the contracts do."""
    wish, trial = offer.figures.ask, offer.figures.trial
    account = account_number(wish.account)
    if trial.deposit:
        book = book_money.deposit(book, account, trial.deposit)
    ordered = book_desk.Wish(
        size=wish.size,
        leverage_e2=wish.leverage_e2,
        acceptable_price=offer.acceptable_price_e18,
        margin=trial.margin,
    )
    book, request = book_desk.request_open(book, seen, account, offer.terms, ordered)
    return book_desk.execute_request(book, later(seen), request, KEEPER)[0]


def later(seen: Readings) -> Readings:
    """The same prices, observed three seconds on."""
    now_s = seen.now_s + 3
    every = {
        market: replace(each, mark=replace(each.mark, observed_at_ms=now_s * 1_000))
        for market, each in seen.markets.items()
    }
    return replace(seen, now_s=now_s, markets=every)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(e18(1), e18(5_000)),
    leverage_e2=st.integers(100, 2_500),
    side=st.sampled_from(Side),
    mode=st.sampled_from(MarginMode),
    adjustment=st.sampled_from(Adjustment),
)
def test_quote__any_offer__is_one_that_the_contracts_take(
    size: int, leverage_e2: int, side: Side, mode: MarginMode, adjustment: Adjustment
) -> None:
    wish = ask(size=size, leverage_e2=leverage_e2, side=side, mode=mode, adjustment=adjustment)
    book, seen = opened_book(), readings()
    answer = quote(wish, ground(book, seen))
    if isinstance(answer, NoOffer):
        check_refusal(answer, wish)
        return
    after = taken(answer, book, seen)
    trial = answer.figures.trial
    own = standing(after, later(seen), wish.identity)
    assert own.position.size == trial.standing.position.size
    assert own.position.maintenance_ppm == answer.terms.maintenance_ppm
    found = position_liquidation_price(after, later(seen), wish.identity)
    if found is None or trial.liquidation_price is None:
        assert found == trial.liquidation_price
    else:  # three seconds of funding apart
        assert abs(found - trial.liquidation_price) <= e18(0.001)


def check_refusal(answer: NoOffer, wish: Ask) -> None:
    """What is said to pass passes."""
    passes = answer.passes
    if passes.leverage_e2 is not None:
        assert isinstance(quote(replace(wish, leverage_e2=passes.leverage_e2), ground()), Offer)
    if passes.size is not None:
        assert isinstance(quote(replace(wish, size=passes.size), ground()), Offer)
    assert answer.detail


@pytest.mark.parametrize("seed", range(4))
def test_quote__books_with_a_past__are_quoted_as_they_are(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(250):
        walk.step()
    book, seen = walk.book, walk.seen
    offered = 0
    for market in (0, 1, 2):
        for mode in MarginMode:
            for side in Side:
                wish = ask(market=market, mode=mode, side=side, size=e18(30), leverage_e2=200)
                answer = quote(
                    wish,
                    ground(
                        book,
                        seen,
                        now_ms=seen.now_s * 1_000,
                        assessment=assessment(seen.now_s * 1_000),
                    ),
                )
                if isinstance(answer, Offer):
                    offered += 1
                    taken(answer, book, seen)
    assert offered or not any(r.mark.new_risk for r in seen.markets.values())


def test_quote__isolated_long__says_what_it_takes() -> None:
    offer = quote(ask(), ground())
    assert isinstance(offer, Offer)
    trial = offer.figures.trial
    assert trial.deposit == trial.margin + RULES.execution_fee
    assert offer.terms.maintenance_ppm == maintenance_from_cap(2_500)
    assert trial.fill.costs.fee == usd(5)
    assert set(offer.alternatives) == {"half_size", "less_leverage"}
    less = offer.alternatives["less_leverage"].trial
    assert less.liquidation_price < trial.liquidation_price
    assert offer.alternatives["half_size"].trial.margin < trial.margin


def test_quote__liquidation_price__is_the_first_at_which_it_is_liquidatable() -> None:
    offer = quote(ask(), ground())
    assert isinstance(offer, Offer)
    fatal = offer.figures.trial.liquidation_price
    for price, expected in ((fatal, True), (fatal + 10**12, False)):
        own = standing(offer.figures.trial.book, readings(price), ask().identity)
        assert is_liquidatable(own.equity, own.maintenance) is expected


def test_quote__money_already_there__is_not_asked_for_again() -> None:
    book = book_money.deposit(opened_book(), account_number(TRADER), usd(10_000))
    offer = quote(ask(), ground(book))
    assert isinstance(offer, Offer)
    assert offer.figures.trial.deposit == 0


def test_quote__riskier_account__gets_less_leverage_and_more_maintenance() -> None:
    rash = AccountScore(account=0, risk=0.6, multiplier=0.5, has_history=True)
    calm, bold = quote(ask(), ground()), quote(ask(), ground(score=rash))
    assert isinstance(calm, Offer)
    assert isinstance(bold, Offer)
    assert bold.account_cap_e2 == calm.account_cap_e2 // 2
    assert bold.terms.maintenance_ppm == 2 * calm.terms.maintenance_ppm
    assert bold.terms.risk_score_ppm > calm.terms.risk_score_ppm
    assert any("own history" in reason for reason in bold.figures.risk.reasons)


def test_quote__unknown_account__is_neither_best_nor_refused() -> None:
    prior = AccountScore(account=0, risk=0.2, multiplier=0.8, has_history=False)
    for score in (prior, None):
        offer = quote(ask(), ground(score=score))
        assert isinstance(offer, Offer)
        assert offer.account_cap_e2 < offer.cap_e2


def test_quote__leverage_above_the_cap__says_what_passes() -> None:
    answer = quote(ask(leverage_e2=5_000), ground())
    assert isinstance(answer, NoOffer)
    assert answer.field == "leverage"
    assert answer.passes.leverage_e2 == 2_500
    assert "25.00x" in answer.detail


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"size": 0}, "size"),
        ({"size": 2**120}, "size"),
        ({"leverage_e2": 99}, "leverage"),
        ({"market": 77}, "market"),
        ({"margin": -1}, "margin"),
        ({"margin": 1}, "margin"),
    ],
)
def test_quote__what_nobody_may_ask__names_the_field(changes: dict, field: str) -> None:
    answer = quote(ask(**changes), ground())
    assert isinstance(answer, NoOffer)
    assert answer.field == field


def test_quote__dust__says_the_least() -> None:
    answer = quote(ask(size=e18(0.01)), ground())
    assert isinstance(answer, NoOffer)
    assert answer.reason == "below_minimum_size"
    assert answer.passes.size == e18(0.1)


def test_quote__too_much__says_the_most() -> None:
    answer = quote(ask(size=e18(100_000), leverage_e2=100), ground())
    assert isinstance(answer, NoOffer)
    assert answer.passes.size is not None
    assert isinstance(quote(ask(size=answer.passes.size, leverage_e2=100), ground()), Offer)


def test_quote__stale_judgement__waits_for_the_next() -> None:
    answer = quote(ask(), ground(assessment=assessment(NOW_MS - 601_000)))
    assert isinstance(answer, NoOffer)
    assert answer.reason == "judgement_stale"


def test_quote__market_that_the_agent_holds__gives_the_reason() -> None:
    held = assessment(blocks=Blocked(reason="stablecoin_off_peg", detail="USDT at 0.97"))
    answer = quote(ask(), ground(assessment=held))
    assert isinstance(answer, NoOffer)
    assert answer.reason == "stablecoin_off_peg"
    assert answer.detail == "USDT at 0.97"


def test_quote__market_that_takes_no_new_risk__passes_nothing() -> None:
    closed = readings(permissions=int(MAY_CLOSE))
    answer = quote(ask(), ground(seen=closed))
    assert isinstance(answer, NoOffer)
    assert answer.reason == "opening_paused"
    assert answer.passes.size is answer.passes.leverage_e2 is None


def test_quote__no_scores__counts_as_the_worst() -> None:
    offer = quote(ask(), ground(assessment=assessment(scores=None)))
    assert isinstance(offer, Offer)
    assert offer.terms.risk_score_ppm == PPM
    assert offer.figures.risk.chances is None


def test_risk__more_leverage__is_never_less_likely_to_be_liquidated() -> None:
    found = [quote(ask(leverage_e2=each), ground()) for each in range(200, 2_501, 100)]
    chances = [each.figures.risk.chances.probabilities for each in found]  # type: ignore[union-attr]
    assert chances == sorted(chances)
    assert all(list(each) == sorted(each) for each in chances)


@pytest.mark.parametrize("reason", HoldReason)
def test_assessment__each_hold__blocks_or_is_harmless(reason: HoldReason) -> None:
    harmless = {
        "no_feasible_step", "nothing_to_do", "no_quorum", "dry_run", "not_delivered",
        "storage_failed", "chain_unreachable",
    }  # fmt: skip
    assert (blocked(reason, "") is None) == (reason.value in harmless)


def test_assessment__read_from_evidence__is_the_one_that_was_made(judgement) -> None:
    fields = {**encode_judgement(judgement), "as_of_ms": 5}
    made, read = assessment_of(judgement, 5), assessment_from(fields)
    assert made.markets.keys() == read.markets.keys()
    for market, each in made.markets.items():
        other = read.markets[market]
        assert (each.blocks, each.reasons) == (other.blocks, other.reasons)
        if each.scores is not None:
            assert other.scores is not None
            assert replace(other.scores, as_of_ms=each.scores.as_of_ms) == each.scores


@pytest.fixture
def judgement() -> Judgement:
    class Known:
        def score(self, vectors, factors=None):
            return tuple(builders.scores(each.market) for each in vectors)

    return judge(snapshot_of(builders.observation()), Known(), Rules(policy=builders.policy()))


def test_account_score__is_used_as_it_is() -> None:
    assert ground(score=CALM).multiplier_ppm == PPM
