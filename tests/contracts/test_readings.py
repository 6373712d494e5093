"""What the engine reads: marks, gaps that ended, ends of liquidation pauses, epochs of AI input."""

from __future__ import annotations

import pytest

from contracts.halts import EPOCHS, PauseScope, Permissions, decode_controls
from contracts.readings import MarkStatus, decode_margin, decode_mark
from contracts.refusals import Refusal
from contracts.units import Ppm, UnixMs
from tests.contracts.world import (
    FIELDS,
    GUARDIAN,
    OWNER,
    PRICE,
    FeedWorld,
    OracleWorld,
    capped,
    moved,
    price_word,
    skips,
)

GAP_MS = 300_000


@pytest.fixture
def feed():
    return FeedWorld(11)


@pytest.fixture
def oracle():
    found = OracleWorld()
    found.update(FIELDS, FIELDS._replace(market=1))
    return found


def status(feed, market=0):
    return decode_mark(feed.read("mark", market)[2])


class TestMark:
    """Price, average and what may be done at it, in one call."""

    def test_mark__before_the_first_price__is_nothing(self, feed):
        assert feed.read("mark", 0) == (0, 0, 0)

    def test_mark__young_price__may_carry_new_risk(self, feed):
        feed.offer(PRICE)
        price, average, word = feed.read("mark", 0)
        assert price == average == PRICE.mantissa << PRICE.exponent
        assert decode_mark(word) == MarkStatus(
            confidence_ppm=Ppm(300),
            observed_at_ms=UnixMs(feed.now_ms),
            unconfirmed=False,
            fresh=True,
            new_risk=True,
        )

    @pytest.mark.parametrize(("age_s", "fresh"), [(45, True), (46, False)])
    def test_mark__as_old_as_its_class_allows__is_fresh_no_longer(self, feed, age_s, fresh):
        feed.offer(PRICE)
        feed.wait(age_s)
        assert (status(feed).fresh, status(feed).new_risk) == (fresh, fresh)

    def test_mark__offer_outside_the_band__is_fresh_but_carries_nothing_new(self, feed):
        feed.offer(PRICE)
        feed.wait(1)
        assert skips(feed.offer(moved(PRICE, 300_000))) == [(0, Refusal.OUT_OF_BAND)]
        found = status(feed)
        assert (found.unconfirmed, found.fresh, found.new_risk) == (True, True, False)

    def test_mark__confidence_too_wide__is_fresh_but_carries_nothing_new(self, feed):
        feed.offer(PRICE._replace(confidence=41))
        found = status(feed)
        assert (found.confidence_ppm, found.fresh, found.new_risk) == (2_050, True, False)


class TestGap:
    """Prices that stayed away for more than five minutes."""

    def test_resumed_at__first_price__is_never(self, feed):
        feed.offer(PRICE)
        assert feed.read("resumed_at", 0) == 0

    @pytest.mark.parametrize(("early_ms", "ended"), [(0, False), (-1, True)])
    def test_resumed_at__five_minutes_and_more__is_the_block_that_ended_it(
        self, feed, early_ms, ended
    ):
        feed.offer(PRICE._replace(age_ms=1 + early_ms))
        feed.wait(GAP_MS // 1_000)
        feed.offer(PRICE._replace(age_ms=1))
        assert feed.read("resumed_at", 0) == 0
        feed.wait(GAP_MS // 1_000)
        feed.offer(PRICE._replace(age_ms=1 + early_ms))
        assert feed.read("resumed_at", 0) == (feed.now_s if ended else 0)

    def test_resumed_at__prices_after_the_gap__stays(self, feed):
        feed.offer(PRICE)
        feed.wait(301)
        feed.offer(PRICE)
        ended_s = feed.now_s
        feed.wait(2)
        feed.offer(PRICE)
        assert feed.read("resumed_at", 0) == ended_s

    def test_resumed_at__skipped_price__ends_no_gap(self, feed):
        feed.offer(PRICE)
        feed.wait(400)
        assert skips(feed.offer(PRICE._replace(age_ms=30_001))) == [(0, Refusal.ITEM_TOO_OLD)]
        assert feed.read("resumed_at", 0) == 0

    def test_resumed_at__two_prices_of_one_round_less_apart__is_never(self, feed):
        feed.offer(PRICE)
        feed.wait(310)
        words = (price_word(PRICE._replace(age_ms=20_000)), price_word(PRICE))
        assert skips(feed.post(feed.message(*words))) == []
        assert feed.read("resumed_at", 0) == 0

    def test_resumed_at__of_each_market__is_its_own(self, feed):
        late = {0, 3, 7, 8, 10}
        everything = [price_word(PRICE, PRICE, slot) for slot in range(5)]
        feed.post(feed.message(*everything, price_word(PRICE, slot=5)))
        feed.wait(200)
        kept = [market for market in range(11) if market not in late]
        feed.post(feed.message(*[self.alone(market) for market in kept]))
        feed.wait(200)
        feed.post(feed.message(*[self.alone(market) for market in range(11)]))
        first_s = feed.now_s
        found = {market: feed.read("resumed_at", market) for market in range(11)}
        assert found == {market: first_s if market in late else 0 for market in range(11)}
        feed.wait(400)
        feed.post(feed.message(self.alone(7), self.alone(9)))
        again = {market: feed.read("resumed_at", market) for market in range(11)}
        assert again == {**found, 7: feed.now_s, 9: feed.now_s}

    def alone(self, market):
        halves = {"high" if market & 1 else "low": PRICE}
        return price_word(
            **{"low": PRICE._replace(mantissa=0, exponent=0, confidence=0), **halves},
            slot=market >> 1,
        )


class TestLiquidationResumes:
    """The end of a liquidation pause stays known, however it ended."""

    def resumes(self, oracle, market=0):
        return oracle.read("liquidation_resumes_at", market)

    def test_resumes_at__never_paused__is_0(self, oracle):
        assert self.resumes(oracle) == 0

    @pytest.mark.parametrize("scope", [PauseScope.LIQUIDATION, PauseScope.EVERYTHING])
    def test_resumes_at__pause_that_ended__is_its_end_everywhere(self, oracle, scope):
        oracle.send(OWNER, "pause", scope, 700)
        ends_s = oracle.now_s + 700
        oracle.wait(5_000)
        assert self.resumes(oracle, 0) == self.resumes(oracle, 1) == ends_s

    @pytest.mark.parametrize(
        "scope", [PauseScope.NEW_RISK, PauseScope.AI_INPUT, PauseScope.WITHDRAWALS]
    )
    def test_resumes_at__other_scope__is_0(self, oracle, scope):
        oracle.send(OWNER, "pause", scope, 700)
        oracle.send(OWNER, "resume", scope)
        assert self.resumes(oracle) == 0

    @pytest.mark.parametrize("scope", [PauseScope.LIQUIDATION, PauseScope.EVERYTHING])
    @pytest.mark.parametrize(("waited_s", "kept_s"), [(100, 100), (700, 700), (5_000, 700)])
    def test_resumes_at__resumed__is_the_earlier_of_end_and_now(
        self, oracle, scope, waited_s, kept_s
    ):
        oracle.send(OWNER, "pause", scope, 700)
        begun_s = oracle.now_s
        oracle.wait(waited_s)
        oracle.send(OWNER, "resume", scope)
        assert self.resumes(oracle) == begun_s + kept_s
        assert Permissions.LIQUIDATE in Permissions(oracle.read("permissions", 0))
        oracle.wait(10)
        oracle.send(OWNER, "resume", scope)
        assert self.resumes(oracle) == begun_s + kept_s

    @pytest.mark.parametrize(("waited_s", "kept_s"), [(100, 100), (5_000, 700)])
    def test_resumes_at__market_resumed__is_the_earlier_there_alone(self, oracle, waited_s, kept_s):
        oracle.send(GUARDIAN, "pause_market", 0, 700)
        begun_s = oracle.now_s
        oracle.wait(waited_s)
        oracle.send(OWNER, "resume_market", 0)
        assert self.resumes(oracle) == begun_s + kept_s
        assert self.resumes(oracle, 1) == 0

    @pytest.mark.parametrize("everywhere", [True, False])
    def test_resumes_at__next_pause_stops_nothing_of_liquidation__stays(self, oracle, everywhere):
        self.pause(oracle, everywhere, 900)
        begun_s = oracle.now_s
        oracle.wait(2_700)
        self.pause(oracle, everywhere, 700)
        assert self.resumes(oracle) == begun_s + 3_400
        oracle.wait(1_400)
        self.pause(oracle, everywhere, 700)
        assert Permissions.LIQUIDATE in Permissions(oracle.read("permissions", 0))
        assert self.resumes(oracle) == begun_s + 3_400

    def pause(self, oracle, everywhere, seconds):
        if everywhere:
            oracle.send(GUARDIAN, "pause", PauseScope.EVERYTHING, seconds)
        else:
            oracle.send(GUARDIAN, "pause_market", 0, seconds)


class TestEpochs:
    """When ramps of an AI-input epoch stopped."""

    def test_ramp_stopped_at__running__is_0(self, oracle):
        assert (oracle.read("ai_epoch"), oracle.read("ramp_stopped_at", 0)) == (0, 0)

    @pytest.mark.parametrize("scope", [PauseScope.AI_INPUT, PauseScope.EVERYTHING])
    def test_ramp_stopped_at__ended__is_when_its_pause_began(self, oracle, scope):
        oracle.wait(5)
        begun_s = oracle.now_s
        oracle.send(OWNER, "pause", scope, 60)
        oracle.wait(100)
        assert (oracle.read("ai_epoch"), oracle.read("ramp_stopped_at", 0)) == (1, begun_s)
        assert oracle.read("ramp_stopped_at", 1) == 0

    def test_ramp_stopped_at__numbers_come_round__running_one_is_0(self, oracle):
        for _ in range(EPOCHS):
            oracle.send(OWNER, "pause", PauseScope.AI_INPUT, 1)
            oracle.wait(1)
        assert (oracle.read("ai_epoch"), oracle.read("ramp_stopped_at", 0)) == (0, 0)
        assert oracle.read("controls")[1][0] != 0
        assert oracle.read("ramp_stopped_at", EPOCHS - 1) == oracle.now_s - 1

    def test_ramp_elapsed_s__stopped_running_or_come_round__is_the_mirror_s(self, oracle):
        begun_s = oracle.now_s
        for _ in range(EPOCHS + 2):
            oracle.wait(5)
            oracle.send(OWNER, "pause", PauseScope.AI_INPUT, 1)
            controls = decode_controls(*oracle.read("controls"))
            for epoch in (0, 1, controls.ai_epoch, EPOCHS - 1):
                elapsed = controls.ramp_elapsed_s(epoch, begun_s, oracle.now_s)
                assert oracle.read("ramp_elapsed_s", epoch, begun_s) == elapsed
        assert oracle.read("ramp_elapsed_s", 0, begun_s) == 0
        begun_s = oracle.now_s
        oracle.wait(7)
        assert oracle.read("ramp_elapsed_s", controls.ai_epoch, begun_s) == 7


class TestMargin:
    """What the engine may do in a market, and by which numbers."""

    def test_margin__frozen_or_its_market_paused__is_halted(self, oracle):
        assert not decode_margin(oracle.read("margin", 0)).halted
        oracle.send(GUARDIAN, "freeze_market", 0)
        oracle.send(GUARDIAN, "pause_market", 1, 60)
        assert decode_margin(oracle.read("margin", 0)).halted
        assert decode_margin(oracle.read("margin", 1)).halted
        oracle.send(OWNER, "unfreeze_market", 0)
        oracle.wait(60)
        assert not decode_margin(oracle.read("margin", 0)).halted
        assert not decode_margin(oracle.read("margin", 1)).halted

    def test_margin__in_a_ramp__is_the_live_ratio_beside_the_new_cap(self, oracle):
        oracle.wait(900)
        oracle.update(capped(700))
        oracle.wait(1_800)
        found = decode_margin(oracle.read("margin", 0))
        assert (found.cap_e2, found.effective_maintenance_ppm) == (700, 60_714)

    @pytest.mark.parametrize("paused", [True, False])
    def test_margin__ramp_standing_still__is_where_it_stopped(self, oracle, paused):
        oracle.wait(900)
        oracle.update(capped(700), valid_until_ms=oracle.now_ms + 1_800_000)
        if paused:
            oracle.wait(900)
            oracle.send(OWNER, "pause", PauseScope.AI_INPUT, 60)
        stopped_s = 900 if paused else 1_800
        oracle.wait(500 if paused else 2_000)
        found = decode_margin(oracle.read("margin", 0))
        assert found.effective_maintenance_ppm == 50_000 + 21_428 * stopped_s // 3_600
        assert found.effective_maintenance_ppm == oracle.parameters()["effective_maintenance_ppm"]
        assert (Permissions.OPEN in found.permissions) == paused  # expired only where not paused
