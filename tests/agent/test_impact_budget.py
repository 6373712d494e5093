"""The impact budget in a cycle: what goes, is ramped, holds, and what a person releases."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace

import pytest

from agent.cycle import CycleResult, Mind, risk_cycle
from agent.impact import (
    Budget,
    CycleBudget,
    Exposure,
    ImpactSettings,
    NotSeen,
    Seen,
    Verdict,
    used_of,
)
from agent.judge import Rules
from agent.ports import Hands
from agent.proof.explain import explain_risk
from agent.proof.verify import verify_risk
from agent.rounds import RoundNumbers
from contracts.book import Book
from contracts.impact import Impact
from contracts.margin import LONG
from contracts.messages import RiskUpdate
from contracts.packing import unpack_risk_word
from contracts.units import MarketId
from relayer.evidence import unpack
from relayer.held import Ended, HeldDecision
from relayer.market.jumps import JumpWatch
from relayer.signing.values import RefusalReason
from tests.agent.builders import NOW_MS, limits, live, observation, policy, state
from tests.contracts.books import at_price, opened_book, readings, trade
from tests.contracts.margins import e18, usd
from tests.fakes import (
    FakeClock,
    FakeDelivery,
    FakeEvidence,
    FakeQuorum,
    FakeRecords,
    FakeScorer,
    FakeWorld,
)

RULES = Rules(policy=policy())
CALM, STORM = FakeScorer(0.002), FakeScorer(0.02)
PLENTY = Budget(accounts=1_000, liquidatable=1_000, notional_usdc=10**9, open_interest_ppm=10**7)
ALL = CycleBudget(**PLENTY.model_dump())
GENEROUS = ImpactSettings(market=PLENTY, cycle=ALL)
NOBODY = PLENTY.model_copy(update={"accounts": 0})
STRICT = ImpactSettings(market=NOBODY, cycle=ALL)


class FakeExposures:
    """Books that are shown to whoever looks."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.asked: list[list[MarketId]] = []

    async def look(self, markets: list[MarketId]) -> Seen:
        self.asked.append(list(markets))
        return self.seen


@dataclass
class FakeHeld:
    """Held decisions in memory."""

    rows: list[HeldDecision] = field(default_factory=list)

    async def waiting(self) -> tuple[HeldDecision, ...]:
        return tuple(row for row in self.rows if row.state in {"awaiting", "approved"})

    async def settle(self, held: list[HeldDecision], ended: list[Ended], at_ms: int) -> None:
        for each in ended:
            place = each.number - 1
            changes = {"state": each.state, "reason": each.reason, "ended_at_ms": at_ms}
            self.rows[place] = replace(self.rows[place], **changes)
        for each in held:
            self.rows.append(replace(each, number=len(self.rows) + 1))

    def approve(self, number: int) -> None:
        released = {"state": "approved", "decided_by": "operator", "decided_at_ms": NOW_MS}
        self.rows[number - 1] = replace(self.rows[number - 1], **released, why="it was warned")


@dataclass
class Bench:
    """Every double at hand; market 0 has traders, market 1 none."""

    settings: ImpactSettings
    exposures: FakeExposures | None
    held: FakeHeld = field(default_factory=FakeHeld)
    world: FakeWorld = field(default_factory=lambda: FakeWorld(observation()))
    quorum: FakeQuorum = field(default_factory=FakeQuorum)
    delivery: FakeDelivery = field(default_factory=FakeDelivery)
    evidence: FakeEvidence = field(default_factory=FakeEvidence)

    async def cycle(self, scorer: FakeScorer = STORM) -> CycleResult:
        hands = Hands(
            clock=FakeClock(),
            world=self.world,
            quorum=self.quorum,
            delivery=self.delivery,
            evidence=self.evidence,
            journal=FakeRecords(),
            rounds=RoundNumbers({}),
            exposures=self.exposures,
            held=self.held,
        )
        mind = Mind(
            model_hash=b"\x0a" * 32, scorer=scorer, rules=RULES, code={}, impact=self.settings
        )
        return await risk_cycle(hands, mind, JumpWatch())

    def posted(self) -> dict[int, object]:
        words = self.delivery.delivered[-1].message.words
        return {each.market: each for each in map(unpack_risk_word, words)}

    def fields(self) -> tuple[dict, RiskUpdate]:
        message = self.delivery.delivered[-1].message
        return unpack(self.evidence.bundles[message.evidence_hash]), message


def crowd(price: str, accounts: int = 3) -> Exposure:
    """Accounts with a managed long of 10,000 USDC at 10x each, from 100, at another price."""
    book, seen = opened_book(), readings()
    for account in range(1, accounts + 1):
        book, seen = trade(book, seen, LONG, 10_000, account=account)
    return Exposure(book=book, readings=at_price(seen, e18(price)), block_number=7)


def bench(settings: ImpactSettings = GENEROUS, price: str = "92.5") -> Bench:
    return Bench(settings=settings, exposures=FakeExposures(crowd(price)))


async def test_budget__within__goes_with_the_notice_and_says_what_it_does() -> None:
    made = bench()
    result = await made.cycle()
    (first, second) = result.weighing.steps
    assert (first.verdict, first.impact.accounts, first.impact.liquidatable) == (
        Verdict.WITHIN,
        3,
        3,
    )
    assert (second.verdict, second.impact.accounts) == (Verdict.WITHIN, 0)
    assert [each.ramp_s for each in made.posted().values()] == [0, 0]
    assert made.exposures.asked == [[0, 1]]


async def test_budget__above_the_soft_one__ramps_the_whole_tuple_for_longer() -> None:
    budget = PLENTY.model_copy(update={"accounts": 4})
    made = bench(ImpactSettings(market=budget, cycle=ALL, soft_ppm=250_000))
    result = await made.cycle()
    first = result.weighing.steps[0]
    assert (first.verdict, first.used_ppm) == (Verdict.RAMPED, 750_000)
    item = made.posted()[0]
    assert item.ramp_s == 3 * 3_600
    plain = bench()
    await plain.cycle()
    assert replace(item, ramp_s=0) == plain.posted()[0]


async def test_budget__longest_ramp__is_not_passed() -> None:
    budget = PLENTY.model_copy(update={"accounts": 3})
    settings = ImpactSettings(market=budget, cycle=ALL, soft_ppm=10_000, longest_ramp_s=7_200)
    made = bench(settings)
    await made.cycle()
    assert made.posted()[0].ramp_s == 7_200


async def test_budget__above_the_hard_one__holds_and_waits_for_approval() -> None:
    made = bench(STRICT)
    result = await made.cycle()
    assert [(h.market, h.reason) for h in result.entry.holds] == [(0, "impact")]
    assert "brings 3 of them" in result.entry.holds[0].detail
    assert list(made.posted()) == [1]
    (row,) = made.held.rows
    assert (row.market, row.symbol, row.state) == (0, "M0", "awaiting")
    assert row.impact["accounts"] == 3
    assert unpack_risk_word(row.word).market == 0


async def test_budget__cycle_full__the_cheapest_go_and_the_dearest_holds() -> None:
    book, seen = opened_book(), readings()
    for account in (1, 2, 3):
        book, seen = trade(book, seen, LONG, 10_000, account=account)
    book, seen = trade(book, seen, LONG, 10_000, account=4, market=1)
    made = bench(ImpactSettings(market=PLENTY, cycle=ALL.model_copy(update={"accounts": 3})))
    made.exposures.seen = Exposure(book=book, readings=at_price(seen, e18("92.5")), block_number=7)
    result = await made.cycle()
    assert [(h.market, h.reason) for h in result.entry.holds] == [(0, "impact")]
    assert "with the cycle's other steps" in result.entry.holds[0].detail
    assert (result.weighing.cycle.accounts, list(made.posted())) == (1, [1])


async def test_budget__held_again_as_it_was__keeps_its_number() -> None:
    made = bench(STRICT)
    await made.cycle()
    await made.cycle()
    assert [row.state for row in made.held.rows] == ["awaiting"]


async def test_budget__grown_since__the_row_is_void_and_a_new_one_waits() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.exposures.seen = crowd("92.5", accounts=4)
    await made.cycle()
    assert [row.state for row in made.held.rows] == ["void", "awaiting"]
    assert "the impact has grown: 4 accounts, was 3" in made.held.rows[0].reason


@pytest.mark.parametrize("price", ["92.4", "92.6", "93"])
async def test_budget__same_accounts_at_the_next_price__keep_number_and_approval(
    price: str,
) -> None:
    made = bench(STRICT)
    await made.cycle()
    made.exposures.seen = crowd(price)
    await made.cycle()
    assert [row.state for row in made.held.rows] == ["awaiting"]
    made.held.approve(1)
    await made.cycle()
    assert made.held.rows[0].state == "used"


async def test_budget__notional_beyond_the_drift__the_row_is_void() -> None:
    made = bench(STRICT.model_copy(update={"drift_ppm": 1_000}))
    await made.cycle()
    made.exposures.seen = crowd("92.6")
    await made.cycle()
    assert [row.state for row in made.held.rows] == ["void", "awaiting"]
    assert "the impact has grown: 27,780 USDC, was 27,750" in made.held.rows[0].reason


async def test_budget__goes_without_approval_by_then__the_row_is_void() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.exposures.seen = crowd("99")
    await made.cycle()
    assert [(row.state, row.reason) for row in made.held.rows] == [
        ("void", "what is wanted now goes without approval")
    ]


async def test_budget__approved__goes_in_the_next_cycle_and_is_used_up() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.held.approve(1)
    result = await made.cycle()
    assert result.weighing.steps[0].verdict is Verdict.APPROVED
    assert made.posted()[0] == unpack_risk_word(made.held.rows[0].word)
    assert (made.held.rows[0].state, made.held.rows[0].reason) == (
        "used",
        f"took effect in round {made.delivery.delivered[-1].message.round}",
    )


async def test_budget__approved_and_not_signed__waits_for_the_next_cycle() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.held.approve(1)
    made.quorum.refuse = RefusalReason.NO_ANSWER
    await made.cycle()
    assert made.held.rows[0].state == "approved"


async def test_budget__approved_and_the_live_values_changed__is_void() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.held.approve(1)
    moved = state(values=live(cap_e2=1_700))
    made.world.observation = observation(limits=limits(states=(moved, state())))
    await made.cycle()
    assert made.held.rows[0].state == "void"
    assert made.held.rows[0].reason == "the live values have changed since it was held"
    assert made.held.rows[1].state == "awaiting"


async def test_budget__approved_and_the_impact_grew__is_void() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.held.approve(1)
    made.exposures.seen = crowd("92.5", accounts=5)
    await made.cycle()
    assert "the impact has grown: 5 accounts, was 3" in made.held.rows[0].reason
    assert list(made.posted()) == [1]


async def test_budget__approved_and_less_is_wanted__is_void() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.held.approve(1)
    result = await made.cycle(FakeScorer(0.015))
    assert made.held.rows[0].state == "void"
    assert "less is wanted by now" in made.held.rows[0].reason
    assert result.weighing.steps[0].verdict is Verdict.HELD


async def test_budget__approved_and_nothing_is_wanted__is_void() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.held.approve(1)
    await made.cycle(CALM)
    assert made.held.rows[0].reason == "nothing open is asked for more by what is wanted now"


async def test_budget__books_not_read__holds_what_would_ask_for_more_and_nothing_else() -> None:
    made = bench()
    made.exposures.seen = NotSeen(detail="the index is being read")
    result = await made.cycle()
    assert {h.reason for h in result.entry.holds} == {"impact_unknown"}
    assert "the index is being read" in result.entry.holds[0].detail
    assert made.held.rows == []
    calm = bench()
    calm.exposures.seen = NotSeen(detail="the index is being read")
    assert (await calm.cycle(CALM)).entry.holds == ()
    assert calm.exposures.asked == []


async def test_budget__no_margin_engine__goes_and_says_so() -> None:
    made = Bench(settings=STRICT, exposures=None)
    result = await made.cycle()
    assert result.entry.holds == ()
    assert result.weighing.steps[0].verdict is Verdict.NO_ENGINE
    assert "no margin engine" in result.weighing.steps[0].detail


async def test_budget__somebody_in_a_market_that_was_not_read__is_unknown() -> None:
    made = bench()
    seen = crowd("92.5")
    blind = replace(seen.readings, markets={})
    made.exposures.seen = replace(seen, readings=blind)
    result = await made.cycle()
    assert {h.reason for h in result.entry.holds} == {"impact_unknown"}


@pytest.mark.parametrize("settings", [GENEROUS, STRICT])
async def test_budget__evidence__reproduces_verdicts_and_words(settings: ImpactSettings) -> None:
    made = bench(settings)
    await made.cycle()
    fields, message = made.fields()
    assert verify_risk(fields, message, STORM, made.evidence.blobs.__getitem__) == ()


async def test_budget__approved__evidence_says_who_and_reproduces() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.held.approve(1)
    await made.cycle()
    fields, message = made.fields()
    assert verify_risk(fields, message, STORM, made.evidence.blobs.__getitem__) == ()
    told = explain_risk(fields, None, {}, {MarketId(0): "BTC"}, {})
    assert any("released by operator at" in each for each in told[0].because)
    assert any("brings 3 of them" in each for each in told[0].because)


async def test_budget__a_position_left_out_of_the_evidence__is_named() -> None:
    made = bench()
    await made.cycle()
    fields, message = made.fields()
    positions = fields["exposure"]["book"]["positions"]
    del positions[next(iter(positions))]
    found = verify_risk(fields, message, STORM, made.evidence.blobs.__getitem__)
    assert "impact/0.impact.accounts" in [each.field for each in found]


async def test_budget__released_by_nobody_in_the_evidence__is_named() -> None:
    made = bench(STRICT)
    await made.cycle()
    made.held.approve(1)
    await made.cycle()
    fields, message = made.fields()
    found = verify_risk(
        {**fields, "approvals": []}, message, STORM, made.evidence.blobs.__getitem__
    )
    assert "outcome/0.hold" in [each.field for each in found]
    assert "impact/0.verdict" in [each.field for each in found]


async def test_budget__books_in_evidence__are_only_those_whom_it_may_touch() -> None:
    made = bench()
    book, seen = made.exposures.seen.book, made.exposures.seen.readings
    book, seen = trade(book, seen, LONG, 10_000, account=9, managed=False)
    made.exposures.seen = Exposure(book=book, readings=seen, block_number=7)
    await made.cycle()
    fields, _ = made.fields()
    assert len(fields["exposure"]["book"]["positions"]) == 3


def test_used__nothing__takes_nothing_and_a_budget_of_none_is_passed_by_one() -> None:
    one = Impact(accounts=1, notional=usd(10), touched=1, open_interest=usd(10))
    assert used_of(Impact(), NOBODY, 0) == 0
    assert used_of(one, NOBODY, 0) > 1_000_000


def test_used__share__counts_only_from_an_amount() -> None:
    budget = PLENTY.model_copy(update={"open_interest_ppm": 100_000})
    all_of_it = Impact(accounts=1, notional=usd(10_000), touched=1, open_interest=usd(10_000))
    assert used_of(all_of_it, budget, 10_000) < 1_000_000
    assert used_of(all_of_it, budget, 9_999) == 10_000_000


def test_exposure__of_books__is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        crowd("99", accounts=0).book = Book()  # type: ignore[misc]
