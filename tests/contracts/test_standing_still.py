"""A ramp never runs while nobody can close, and no message moves a position's health at once."""

from __future__ import annotations

import pytest

from contracts.refusals import Refusal
from tests.contracts.world import GUARDIAN, OWNER, OracleWorld, capped, skips

DAY_S = 86_400
CLOSE = 2


@pytest.fixture
def world():
    found = OracleWorld()
    found.update()
    found.wait(10)
    return found


def effective(world):
    return world.parameters()["effective_maintenance_ppm"]


def renew(world, *items):
    """Post every hour what a market has, or what is given."""
    world.wait(3_600)
    assert skips(world.update(*items)) == []


class TestMarketPause:
    """Ramps that an update asks for in a pause begin at its announced end."""

    def test_ramp__asked_for_in_a_pause__begins_at_its_end(self, world):
        world.send(GUARDIAN, "pause_market", 0, DAY_S)
        ends_s = world.now_s + DAY_S
        world.wait(10)
        assert skips(world.update(capped(700))) == []
        while world.now_s + 3_600 < ends_s:
            renew(world, capped(700))
            assert effective(world) == 50_000
            assert not world.read("permissions", 0) & CLOSE
        world.wait(ends_s - world.now_s)
        assert world.read("permissions", 0) & CLOSE
        assert effective(world) == 50_000
        world.update(capped(700))
        world.wait(1_800)
        assert effective(world) == 50_000 + (71_428 - 50_000) // 2

    def test_ramp__after_a_revert_in_a_pause__begins_at_its_end(self, world):
        world.update(capped(700))
        world.wait(10)
        world.send(GUARDIAN, "pause_market", 0, DAY_S)
        world.wait(5)
        world.send(GUARDIAN, "revert_market", 0)
        held = effective(world)
        world.wait(5)
        assert skips(world.update(capped(600))) == []
        renew(world, capped(600))
        renew(world, capped(600))
        assert effective(world) == held == 50_000

    def test_pause__a_finished_ramp__leaves_the_live_maintenance(self, world):
        world.update(capped(700))
        world.wait(3_600)
        assert effective(world) == 71_428
        world.send(GUARDIAN, "pause_market", 0, 600)
        assert effective(world) == 71_428
        world.wait(601)
        assert effective(world) == 71_428

    def test_pause__extended_by_the_owner__moves_the_ramp_s_begin_on(self, world):
        world.send(GUARDIAN, "pause_market", 0, 600)
        world.update(capped(700))
        world.send(OWNER, "pause_market", 0, 7_200)
        renew(world, capped(700))
        renew(world, capped(700))
        assert effective(world) == 50_000
        world.wait(1_800)
        assert effective(world) == 60_714

    @pytest.mark.parametrize("paused", [True, False])
    def test_revert__market_paused_before__gives_the_earlier_maintenance_back(self, world, paused):
        world.update(capped(700))
        world.wait(1_800)
        if paused:
            world.send(GUARDIAN, "pause_market", 0, 60)
        world.send(GUARDIAN, "revert_market", 0)
        assert effective(world) == 50_000


class TestFlooredValidity:
    """An update that storage would hold as expired already is refused."""

    @pytest.mark.parametrize("lag_s", [11, 19])
    def test_update__expired_as_stored__refuses_expired(self, world, lag_s):
        world.update(capped(700))
        world.wait(200)
        times = {"observed_at_ms": world.now_ms, "valid_until_ms": world.now_ms + 19_999}
        message = world.message(capped(700), **times)
        world.wait(lag_s)
        with world.refuses(Refusal.EXPIRED):
            world.post(message)

    def test_update__ends_in_this_second_as_stored__lands_and_moves_nothing(self, world):
        world.update(capped(700))
        world.wait(200)
        times = {"observed_at_ms": world.now_ms, "valid_until_ms": world.now_ms + 19_999}
        message = world.message(capped(700), **times)
        world.wait(10)
        before = effective(world)
        assert skips(world.post(message)) == []
        assert effective(world) == before > 50_000
        assert world.parameters()["valid_until"] == world.now_ms
