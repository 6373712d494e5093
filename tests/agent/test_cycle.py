"""The risk cycle and the price tick over their ports: what is posted, and what holds."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import pytest

from agent.cycle import CycleResult, Mind, risk_cycle
from agent.decisions import HoldReason
from agent.dry import DryRun
from agent.judge import Rules
from agent.ports import Hands
from agent.prices import PriceSettings, TickResult, price_tick
from agent.proof.verify import verify_price, verify_risk
from agent.rounds import RoundNumbers
from agent.snapshot import Feed, Observation
from contracts.halts import NO_CONTROLS
from contracts.messages import PriceRound, RiskUpdate
from contracts.packing import unpack_risk_word
from contracts.units import MarketId
from relayer.delivery.states import Superseded
from relayer.errors import StorageFailed, Unreachable
from relayer.evidence import check, unpack
from relayer.market.aggregate import AggregationRules
from relayer.market.jumps import JumpRules, JumpWatch, MarkMemory
from relayer.signing.values import RefusalReason
from tests.agent.builders import NOW_MS, domain, limits, mark, observation, policy, quote
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
MODEL = b"\x0a" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Every double at hand."""

    clock: FakeClock
    world: FakeWorld
    quorum: FakeQuorum
    delivery: FakeDelivery
    evidence: FakeEvidence
    journal: FakeRecords
    rounds: RoundNumbers

    async def cycle(
        self, scorer: FakeScorer | None = None, seen: JumpWatch | None = None
    ) -> CycleResult:
        mind = Mind(
            model_hash=MODEL, scorer=scorer or FakeScorer(), rules=RULES, code={"version": "0"}
        )
        return await risk_cycle(self.hands, mind, seen or JumpWatch())

    async def tick(self, seen: JumpWatch | None = None) -> TickResult:
        return await price_tick(
            self.hands, AggregationRules(), PriceSettings(), seen or JumpWatch()
        )

    @property
    def hands(self) -> Hands:
        return Hands(
            clock=self.clock,
            world=self.world,
            quorum=self.quorum,
            delivery=self.delivery,
            evidence=self.evidence,
            journal=self.journal,
            rounds=self.rounds,
        )


def bench(seen: Observation | None = None) -> Bench:
    made = Bench(
        clock=FakeClock(),
        world=FakeWorld(seen or observation()),
        quorum=FakeQuorum(),
        delivery=FakeDelivery(),
        evidence=FakeEvidence(),
        journal=FakeRecords(),
        rounds=RoundNumbers({}),
    )
    made.delivery.evidence = made.evidence
    return made


async def test_cycle__sound_markets__one_update_for_all_is_effective_and_journalled() -> None:
    made = bench()
    result = await made.cycle()
    (signed,) = made.delivery.delivered
    assert isinstance(signed.message, RiskUpdate)
    assert (signed.message.round, signed.message.model_hash) == (5, MODEL)
    assert [unpack_risk_word(word).market for word in signed.message.words] == [0, 1]
    assert (result.entry.result, result.entry.round, result.entry.block_number) == (
        "effective",
        5,
        77,
    )
    assert made.journal.cycles == [result.entry]
    assert [entry.state for entry in made.journal.planned] == ["planned"]
    assert [entry.state for entry in made.journal.settled] == ["effective"]
    assert made.clock.held == 1


async def test_cycle__evidence__is_kept_before_delivery_and_reproduces_the_update() -> None:
    made = bench()
    await made.cycle()
    message = made.delivery.delivered[0].message
    assert isinstance(message, RiskUpdate)
    bundle = made.evidence.bundles[message.evidence_hash]
    assert check(bundle, message.evidence_hash) == ()
    fields = unpack(bundle)
    assert verify_risk(fields, message, FakeScorer(), made.evidence.blobs.__getitem__) == ()


async def test_cycle__other_model_than_recorded__the_differing_scores_are_named() -> None:
    made = bench()
    await made.cycle()
    message = made.delivery.delivered[0].message
    assert isinstance(message, RiskUpdate)
    fields = unpack(made.evidence.bundles[message.evidence_hash])
    found = verify_risk(fields, message, FakeScorer(0.03), made.evidence.blobs.__getitem__)
    assert "scores/0.tail_long" in [difference.field for difference in found]
    assert "chain.words[0]" in [difference.field for difference in found]


async def test_cycle__same_observation_twice__gives_the_same_bytes() -> None:
    first, second = bench(), bench()
    await first.cycle()
    await second.cycle()
    assert first.evidence.bundles == second.evidence.bundles
    assert first.delivery.delivered == second.delivery.delivered


async def test_cycle__one_market_without_venues__holds_and_the_rest_goes_on() -> None:
    seen = observation()
    one = dataclasses.replace(
        seen.quotes, quotes=tuple(q for q in seen.quotes.quotes if q.market == 1)
    )
    made = bench(dataclasses.replace(seen, quotes=one))
    result = await made.cycle()
    assert [(h.market, h.reason) for h in result.entry.holds] == [(0, "too_few_venues")]
    words = made.delivery.delivered[0].message.words
    assert [unpack_risk_word(word).market for word in words] == [1]


async def test_cycle__a_venue_off_by_a_power_of_ten__is_outvoted() -> None:
    seen = observation()
    wrong = tuple(
        quote("c", q.market, price=1_000.0) if q.venue == "c" else q for q in seen.quotes.quotes
    )
    made = bench(dataclasses.replace(seen, quotes=dataclasses.replace(seen.quotes, quotes=wrong)))
    result = await made.cycle()
    assert result.entry.result == "effective"


async def test_cycle__ai_input_paused__holds_everything_and_posts_nothing() -> None:
    paused = dataclasses.replace(NO_CONTROLS, ai_input_until_s=NOW_MS // 1_000 + 60)
    made = bench(observation(limits=limits(controls=paused)))
    result = await made.cycle()
    assert {h.reason for h in result.entry.holds} == {"paused"}
    assert not made.delivery.delivered
    assert not made.quorum.proposals


async def test_cycle__signers_refuse__holds_with_what_they_said() -> None:
    made = bench()
    made.quorum.refuse = RefusalReason.LOOSER_THAN_OWN
    result = await made.cycle()
    (hold,) = result.entry.holds
    assert hold.reason == HoldReason.NO_QUORUM
    assert "looser_than_own" in hold.detail
    assert result.entry.result == "held"
    assert not made.delivery.delivered
    assert [(entry.round, entry.state) for entry in made.journal.planned] == [(5, "unsigned")]


async def test_cycle__round_without_a_quorum__its_number_is_never_proposed_again() -> None:
    """A signer that signed it would refuse every other message of that round, for ever."""
    made = bench()
    made.quorum.refuse = RefusalReason.NO_ANSWER
    await made.cycle()
    made.quorum.refuse = None
    await made.cycle()
    assert [proposal.message.round for proposal in made.quorum.proposals] == [5, 6]


async def test_cycle__no_keys__decides_and_keeps_evidence_but_signs_and_posts_nothing() -> None:
    made = bench()
    mind = Mind(model_hash=MODEL, scorer=FakeScorer(), rules=RULES, code={})
    dry = DryRun()
    result = await risk_cycle(
        dataclasses.replace(made.hands, quorum=dry, delivery=dry), mind, JumpWatch()
    )
    assert [hold.reason for hold in result.entry.holds] == ["dry_run"]
    assert len(made.evidence.bundles) == 1
    assert result.judgement.words


async def test_cycle__superseded__is_a_failure_not_a_success() -> None:
    made = bench()
    made.delivery.outcome = Superseded(latest_round=9)
    result = await made.cycle()
    assert result.entry.result == "failed"
    assert made.journal.settled[0].state == "superseded"


async def test_cycle__evidence_cannot_be_written__nothing_is_delivered() -> None:
    made = bench()
    made.evidence.fault = StorageFailed("disk full")
    with pytest.raises(StorageFailed):
        await made.cycle()
    assert not made.delivery.delivered


async def test_cycle__chain_unreachable__nothing_is_signed() -> None:
    made = bench()
    made.world.fault = Unreachable("refused")
    with pytest.raises(Unreachable):
        await made.cycle()
    assert not made.quorum.proposals


async def test_cycle__no_market_can_be_decided__is_journalled_as_held() -> None:
    result = await bench().cycle(FakeScorer(0.9))
    assert result.entry.result == "held"
    assert {h.reason for h in result.entry.holds} == {"no_feasible_cap"}


async def test_tick__market_without_a_price__goes_and_the_round_reproduces() -> None:
    made = bench()
    result = await made.tick()
    message = made.delivery.delivered[0].message
    assert isinstance(message, PriceRound)
    assert message.round == 10
    assert result.entry.result == "effective"
    fields = unpack(made.evidence.bundles[message.evidence_hash])
    assert verify_price(fields, message) == ()


async def test_tick__quotes_changed_afterwards__the_mark_is_named() -> None:
    made = bench()
    await made.tick()
    message = made.delivery.delivered[0].message
    assert isinstance(message, PriceRound)
    fields = json.loads(json.dumps(unpack(made.evidence.bundles[message.evidence_hash])))
    for row in fields["quotes"]:
        row[5] = str(int(row[5]) * 101 // 100)
    assert "marks.1.price_e18" in [d.field for d in verify_price(fields, message)]


async def test_tick__trigger_changed_afterwards__is_named() -> None:
    made = bench()
    await made.tick()
    message = made.delivery.delivered[0].message
    assert isinstance(message, PriceRound)
    fields = unpack(made.evidence.bundles[message.evidence_hash])
    changed = {**fields, "triggers": {**fields["triggers"], "1": "heartbeat"}}
    assert [d.field for d in verify_price(changed, message)] == ["triggers.1"]


async def test_cycle__message_valid_for_longer_than_decided__is_named() -> None:
    made = bench()
    await made.cycle()
    message = made.delivery.delivered[0].message
    assert isinstance(message, RiskUpdate)
    longer = dataclasses.replace(message, valid_until_ms=message.valid_until_ms + 60_000)
    fields = unpack(made.evidence.bundles[message.evidence_hash])
    found = verify_risk(fields, longer, FakeScorer(), made.evidence.blobs.__getitem__)
    assert [difference.field for difference in found] == ["chain.valid_for_s"]


async def test_cycle__a_market_left_out_of_the_message__is_named() -> None:
    made = bench()
    await made.cycle()
    message = made.delivery.delivered[0].message
    assert isinstance(message, RiskUpdate)
    shorter = dataclasses.replace(message, words=message.words[:1])
    fields = unpack(made.evidence.bundles[message.evidence_hash])
    found = verify_risk(fields, shorter, FakeScorer(), made.evidence.blobs.__getitem__)
    assert [difference.field for difference in found] == ["chain.words"]


async def test_tick__venues_all_stale__holds_and_posts_nothing() -> None:
    seen = observation()
    old = tuple(quote(q.venue, q.market, age_ms=60_000) for q in seen.quotes.quotes)
    made = bench(dataclasses.replace(seen, quotes=dataclasses.replace(seen.quotes, quotes=old)))
    result = await made.tick()
    assert {h.reason for h in result.entry.holds} == {"venues_stale"}
    assert not made.quorum.proposals


async def test_tick__one_market_jumps__held_while_the_others_go_and_the_round_reproduces() -> None:
    never = Feed(domain=domain("22"), round=9, posted=(None, None))
    made = bench(observation(limits=limits(feed=never)))
    result = await made.tick(watch_that_saw(1, 80.0))
    assert [(h.market, h.reason) for h in result.entry.holds] == [(1, "jump_unconfirmed")]
    assert set(result.triggers) == {0}
    message = made.delivery.delivered[0].message
    assert isinstance(message, PriceRound)
    fields = unpack(made.evidence.bundles[message.evidence_hash])
    assert verify_price(fields, message) == ()


async def test_tick__rules_that_call_it_no_jump__goes_on() -> None:
    rules = JumpRules(jump_ppm=500_000)
    watch = dataclasses.replace(watch_that_saw(1, 80.0), rules=rules)
    assert (await bench().tick(watch)).entry.holds == ()


async def test_cycle__jump_waits_in_the_price_loop__held_and_the_update_reproduces() -> None:
    made = bench()
    result = await made.cycle(seen=watch_that_saw(1, 80.0))
    assert [(h.market, h.reason) for h in result.entry.holds] == [(1, "jump_unconfirmed")]
    message = made.delivery.delivered[0].message
    assert isinstance(message, RiskUpdate)
    assert [unpack_risk_word(word).market for word in message.words] == [0]
    fields = unpack(made.evidence.bundles[message.evidence_hash])
    assert verify_risk(fields, message, FakeScorer(), made.evidence.blobs.__getitem__) == ()


def watch_that_saw(market: int, price: float) -> JumpWatch:
    """A watch that accepted one mark five seconds ago, and takes no number of venues as proof."""
    accepted = {MarketId(market): mark(market, price=price, age_ms=5_000)}
    rules = JumpRules(unanimous_venues=9)
    return JumpWatch(rules=rules, memory=MarkMemory(accepted=accepted))
