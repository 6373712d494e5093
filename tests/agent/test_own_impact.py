"""What a signer counts itself of an update's impact: it does not matter what the daemon says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from agent.impact import Exposure, ImpactSettings, NotSeen, Seen
from agent.judge import judge
from agent.own_impact import BudgetRules, OwnBudget
from agent.snapshot import Limits, snapshot_of
from contracts.messages import RiskUpdate
from contracts.packing import pack_risk_word, unpack_risk_word
from contracts.units import MarketId, UnixMs
from relayer.signing.review_impact import wrong_impact
from relayer.signing.values import OwnImpact, RefusalReason
from tests.agent.builders import NOW_MS, limits, live, observation, state
from tests.agent.test_impact_budget import (
    ALL,
    GENEROUS,
    PLENTY,
    RULES,
    STORM,
    STRICT,
    FakeExposures,
    FakeHeld,
    crowd,
)
from tests.contracts.books import at_price, opened_book, readings, trade
from tests.contracts.margins import e18
from tests.relayer import builders as b

BTC, ETH = MarketId(0), MarketId(1)
SIGNER_RULES = b.signer_rules()


def planned() -> tuple[int, ...]:
    """Give the words that a storm leads to, without any budget: what a daemon may claim is fine."""
    return judge(snapshot_of(observation()), STORM, RULES).words


def update(words: tuple[int, ...] | None = None, at_ms: int = NOW_MS) -> RiskUpdate:
    return RiskUpdate(
        round=5,
        observed_at_ms=UnixMs(at_ms),
        valid_until_ms=UnixMs(at_ms + 900_000),
        model_hash=b"\x0a" * 32,
        evidence_hash=b"\x01" * 32,
        words=planned() if words is None else words,
    )


@dataclass
class Bench:
    """A signer's budget over books of three accounts that a storm brings near."""

    settings: ImpactSettings
    tolerance_ppm: int = 0
    together_s: int = 30
    seen: Seen = field(default_factory=lambda: crowd("92.5"))
    held: FakeHeld = field(default_factory=FakeHeld)

    def __post_init__(self) -> None:
        self.exposures = FakeExposures(self.seen)
        rules = BudgetRules(
            settings=self.settings,
            tolerance_ppm=self.tolerance_ppm,
            together_s=self.together_s,
            symbols={BTC: "BTC"},
        )
        self.budget = OwnBudget(self.exposures, self.held, rules)
        tolerances = replace(SIGNER_RULES.tolerances, impact_ppm=self.tolerance_ppm)
        self.rules = replace(SIGNER_RULES, tolerances=tolerances)

    async def counted(self, message: RiskUpdate, before: Limits | None = None) -> OwnImpact:
        return await self.budget.counted(message, before or limits(), message.observed_at_ms)

    async def refused(
        self, message: RiskUpdate, before: Limits | None = None
    ) -> list[tuple[str, str]]:
        own = await self.counted(message, before)
        return [(each.reason.value, each.field) for each in wrong_impact(own, self.rules)]


BEYOND_BTC = (RefusalReason.IMPACT_BEYOND_BUDGET.value, "impact of market 0")


async def test_budget__within_the_signers_own__is_no_objection() -> None:
    assert await Bench(GENEROUS).refused(update()) == []


async def test_budget__beyond_the_signers_own__is_refused_though_the_daemon_proposes_it() -> None:
    made = Bench(STRICT)
    assert await made.refused(update()) == [BEYOND_BTC]
    (row,) = made.held.rows
    assert (row.market, row.symbol, row.state) == (0, "BTC", "awaiting")
    assert row.word == planned()[0]
    assert row.impact["accounts"] == 3
    assert "brings 3 of them" in row.detail


async def test_budget__approved_at_this_signer__goes_and_no_other_item_does() -> None:
    made = Bench(STRICT)
    await made.counted(update())
    made.held.approve(1)
    assert await made.refused(update()) == []
    harsher = unpack_risk_word(planned()[0])
    other = pack_risk_word(replace(harsher, size_scale_usdc=harsher.size_scale_usdc // 2))
    assert await made.refused(update((other,))) == [BEYOND_BTC]


async def test_budget__approved_and_the_live_values_changed__is_refused() -> None:
    made = Bench(STRICT)
    await made.counted(update())
    made.held.approve(1)
    moved = limits(states=(state(values=live(cap_e2=1_990)), state()))
    assert await made.refused(update(), moved) == [BEYOND_BTC]


async def test_budget__approved_and_the_impact_grew__is_refused() -> None:
    made = Bench(STRICT)
    await made.counted(update())
    made.held.approve(1)
    made.exposures.seen = crowd("92.5", accounts=4)
    assert await made.refused(update()) == [BEYOND_BTC]


async def test_budget__approved_too_long_ago__is_refused() -> None:
    made = Bench(STRICT)
    await made.counted(update())
    made.held.approve(1)
    later = update(at_ms=NOW_MS + 1_000 * (STRICT.approval_s + 1))
    assert await made.refused(later) == [BEYOND_BTC]
    assert made.held.rows[0].state == "expired"


async def test_budget__awaiting_only__is_refused_and_keeps_its_row() -> None:
    made = Bench(STRICT)
    await made.counted(update())
    assert await made.refused(update()) == [BEYOND_BTC]
    assert len(made.held.rows) == 1


async def test_budget__another_item_each_second__writes_one_row_in_ten() -> None:
    made = Bench(STRICT)
    item = unpack_risk_word(planned()[0])
    for second in range(25):
        word = pack_risk_word(replace(item, size_scale_usdc=item.size_scale_usdc - 2_000 * second))
        await made.counted(update((word,), NOW_MS + 1_000 * second))
    assert [row.state for row in made.held.rows] == ["void", "void", "awaiting"]


@pytest.mark.parametrize(("tolerance_ppm", "refused"), [(0, True), (500_000, False)])
async def test_budget__a_little_more_than_it__passes_by_the_tolerance(
    tolerance_ppm: int, refused: bool
) -> None:
    two = ImpactSettings(
        market=PLENTY.model_copy(update={"accounts": 2}), cycle=ALL, soft_ppm=10**6
    )
    made = Bench(two, tolerance_ppm)
    assert bool(await made.refused(update())) is refused


async def test_budget__shorter_ramp_than_its_impact_asks__is_refused_until_it_is_long() -> None:
    four = PLENTY.model_copy(update={"accounts": 4})
    made = Bench(ImpactSettings(market=four, cycle=ALL, soft_ppm=250_000))
    fast, *rest = planned()
    assert await made.refused(update()) == [
        (RefusalReason.IMPACT_TOO_FAST.value, "impact of market 0")
    ]
    slow = pack_risk_word(replace(unpack_risk_word(fast), ramp_s=3 * 3_600))
    assert await made.refused(update((slow, *rest))) == []


async def test_budget__one_cycle_in_two_updates__counts_as_one_until_time_passes() -> None:
    """Split over rounds, what each is within its budget is not more than a cycle's in all."""
    cycle = ALL.model_copy(update={"accounts": 2})
    three = ImpactSettings(market=PLENTY, cycle=cycle, soft_ppm=10**6)
    both = both_markets()
    first, second = planned()
    made = Bench(three, seen=both)
    assert await made.refused(update((second,))) == []
    assert await made.refused(update((first,))) == [BEYOND_BTC]
    later = update((first,), NOW_MS + 31_000)
    fewer = Bench(three, seen=both)
    assert await fewer.refused(update((second,))) == []
    assert await fewer.refused(later) == []


def both_markets() -> Exposure:
    """Two accounts near in the first market, one in the second."""
    book, seen = opened_book(), readings()
    for account, market in ((1, 0), (2, 0), (3, 1)):
        book, seen = trade(book, seen, 1, 10_000, account=account, market=market)
    return Exposure(book=book, readings=at_price(seen, e18("92.5")), block_number=7)


async def test_books__not_read__is_unknown_and_refused() -> None:
    made = Bench(GENEROUS, seen=NotSeen(detail="the own index is behind"))
    assert await made.refused(update()) == [(RefusalReason.IMPACT_UNKNOWN.value, "words")]


async def test_books__nothing_open_is_asked_for_more__are_not_looked_at() -> None:
    made = Bench(STRICT, seen=NotSeen(detail="the own index is behind"))
    assert await made.refused(update(())) == []
    assert made.exposures.asked == [[]]


async def test_books__somebody_in_a_market_that_was_not_read__is_unknown() -> None:
    seen = crowd("92.5")
    made = Bench(GENEROUS, seen=replace(seen, readings=replace(seen.readings, markets={})))
    assert await made.refused(update()) == [(RefusalReason.IMPACT_UNKNOWN.value, "words")]


def test_review__signer_that_does_not_count__has_no_objection() -> None:
    assert list(wrong_impact(None, SIGNER_RULES)) == []
