"""Facts about what a signer decides itself before it signs parameters."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from agent.decisions import Decision
from agent.derive_settings import DeriveSettings
from agent.judge import InService, Judgement, Rules, judge
from agent.rederive import Derived, Outlook, Untaught
from agent.snapshot import Limits, Observation, snapshot_of
from contracts.messages import RiskUpdate
from contracts.packing import MarketParameters
from contracts.units import MarketId, UnixMs
from relayer.errors import Unreachable
from tests.agent.builders import NOW_MS, history, limits, live, observation, policy, state
from tests.fakes import FakeScorer

BTC, ETH = MarketId(0), MarketId(1)
RULES = Rules(policy=policy())
MODEL = b"\x0a" * 32


@dataclass
class SeenBefore:
    """Eyes that see the same each time, when they are let."""

    shown: Observation = field(default_factory=observation)
    looks: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None

    async def observe(self, limits: Limits) -> Observation:
        self.looks += 1
        await self.opened.wait()
        if self.fault is not None:
            raise self.fault
        return replace(self.shown, limits=limits)


@dataclass
class OwnModel:
    """A model with a tail of its own."""

    tail: float = 0.02
    lessons: int = 0

    async def now(self) -> InService:
        return InService(model_hash=MODEL, scorer=FakeScorer(self.tail))

    async def learn(self, seen: Observation, judgement: Judgement) -> None:
        self.lessons += 1


def outlook(eyes: SeenBefore | None = None, tail: float = 0.02, wait_s: float = 30.0) -> Outlook:
    eyes = eyes or SeenBefore()
    if wait_s > 1.0:
        eyes.opened.set()
    return Outlook(eyes, OwnModel(tail), RULES, DeriveSettings(wait_s=wait_s))


def update(model: bytes = MODEL, at_ms: UnixMs = NOW_MS) -> RiskUpdate:
    return RiskUpdate(
        round=5,
        observed_at_ms=at_ms,
        valid_until_ms=UnixMs(at_ms + 900_000),
        model_hash=model,
        evidence_hash=b"\x01" * 32,
        words=(1,),
    )


def proposed(tail: float, before: Limits | None = None) -> MarketParameters:
    """Give what a daemon whose model sees such a tail proposes for the first market."""
    seen = replace(observation(), limits=before or limits())
    (plan, *_) = judge(snapshot_of(seen), FakeScorer(tail), RULES).plans
    return plan.parameters


def wants(tail: float) -> Decision:
    found = judge(snapshot_of(observation()), FakeScorer(tail), RULES).judged[0].decision
    assert found is not None
    return found


async def derived(made: Outlook, before: Limits | None = None) -> Derived:
    return await made.derived(update(), before or limits(), NOW_MS)


async def test_derived__same_model_and_market__allows_what_the_daemon_proposes() -> None:
    own = (await derived(outlook())).loosest[BTC]
    item = proposed(0.02)
    assert item.cap_e2 <= own.cap_e2
    assert item.open_interest_cap_usdc <= own.open_interest_cap_usdc
    assert item.size_scale_usdc <= own.size_scale_usdc
    assert item.spread_ppm >= own.spread_ppm


async def test_derived__model_that_sees_more_risk__does_not_renew_what_is_too_loose() -> None:
    mild = live(cap_e2=wants(0.02).cap_e2)
    before = limits(states=(state(values=mild, previous=mild), state()))
    own = (await derived(outlook(tail=0.08), before)).loosest[BTC]
    renewal = proposed(0.02, before)
    assert renewal.cap_e2 == mild.cap_e2
    assert renewal.cap_e2 * 100 > own.cap_e2 * 105


async def test_derived__far_to_go_in_steps__one_cut_more_is_enough_and_none_is_not() -> None:
    top = live(cap_e2=5_000)
    before = limits(states=(state(values=top, previous=top), state()))
    own = (await derived(outlook(tail=0.08), before)).loosest[BTC]
    step = proposed(0.08, before)
    assert wants(0.08).cap_e2 < step.cap_e2 <= own.cap_e2
    # nearly the same aim, and another number of parts
    for tail in (0.07, 0.075, 0.085, 0.09, 0.1, 0.12):
        assert proposed(tail, before).cap_e2 * 100 <= own.cap_e2 * 105, tail
    assert top.cap_e2 * 100 > own.cap_e2 * 105


async def test_derived__history_too_short__says_so() -> None:
    seen = observation(histories=(history(0), history(1, days=1)))
    found = await derived(outlook(SeenBefore(shown=seen)))
    assert BTC in found.loosest
    assert ETH not in found.loosest
    assert found.unknown[ETH].startswith("warming_up")


async def test_derived__market_that_the_venues_do_not_show__says_why() -> None:
    seen = observation()
    quotes = tuple(q for q in seen.quotes.quotes if q.market == BTC)
    seen = replace(seen, quotes=replace(seen.quotes, quotes=quotes))
    found = await derived(outlook(SeenBefore(shown=seen)))
    assert found.unknown[ETH].startswith("too_few_venues")


async def test_derived__another_model_than_the_own__is_not_decided() -> None:
    found = await outlook().derived(update(model=b"\x0b" * 32), limits(), NOW_MS)
    assert found.loosest == {}
    assert "is not the one here" in found.otherwise


async def test_derived__slow_venues__answers_in_time_and_the_look_serves_the_next() -> None:
    eyes = SeenBefore()
    made = outlook(eyes, wait_s=0.05)
    assert "no own look within 0.05 s" in (await derived(made)).otherwise
    eyes.opened.set()
    await made.looked()
    assert BTC in (await derived(made)).loosest
    assert eyes.looks == 1
    await made.close()


async def test_derived__venues_gone__says_so_and_looks_again() -> None:
    eyes = SeenBefore(fault=Unreachable("no venue"))
    made = outlook(eyes)
    assert "no venue" in (await derived(made)).otherwise
    eyes.fault = None
    assert BTC in (await derived(made)).loosest


@pytest.mark.parametrize(("age_ms", "looks"), [(0, 1), (30_000, 1), (30_001, 2), (-1, 2)])
async def test_derived__one_look__serves_as_long_as_it_is_young(age_ms: int, looks: int) -> None:
    eyes = SeenBefore()
    made = outlook(eyes)
    for now_ms in (NOW_MS, NOW_MS + age_ms):
        await made.derived(update(), limits(), UnixMs(now_ms))
    assert eyes.looks == looks


async def test_derived__three_signers_at_once__look_once() -> None:
    eyes = SeenBefore()
    made = outlook(eyes)
    found = await asyncio.gather(*(derived(made) for _ in range(3)))
    assert eyes.looks == 1
    assert all(BTC in each.loosest for each in found)


async def test_untaught__of_another__reads_its_model_and_teaches_nothing() -> None:
    model = OwnModel()
    shared = Untaught(model)
    assert (await shared.now()).model_hash == MODEL
    await shared.learn(observation(), Judgement(judged=(), validity_s=0))
    assert model.lessons == 0
