"""What an accepted change leaves behind: drift, a running ramp, a revert's hold."""

from __future__ import annotations

import pytest

from contracts.refusals import Refusal
from contracts.units import LeverageE2, Ppm
from tests.contracts.world import GUARDIAN, OracleWorld, capped, skips

CAPACITY = 250  # half of 50 %, in 0.1 %


@pytest.fixture
def world():
    return OracleWorld()


def effective(world):
    return world.parameters()["effective_maintenance_ppm"]


def drift(world):
    return world.state().markets[0].drift_used


def test_drift__loosened_reverted_and_loosened_again__stays_charged(world):
    assert skips(world.update(capped(1_100))) == []
    assert drift(world) == 101
    world.wait(1)
    world.send(GUARDIAN, "revert_market", 0)
    assert drift(world) == 101
    world.wait(900)
    assert skips(world.update(capped(1_100))) == []
    assert drift(world) == 101 - 900 * CAPACITY // 86_400 + 101
    world.wait(1)
    world.send(GUARDIAN, "revert_market", 0)
    world.wait(900)
    assert skips(world.update(capped(1_100))) == [(0, Refusal.DRIFT_SPENT)]


@pytest.mark.parametrize(("cap_e2", "refused"), [(1_099, False), (1_100, True)])
def test_drift__filled_exactly__lands_and_one_more_does_not(cap_e2, refused):
    world = OracleWorld()
    # holds 100: 9.9 % is charged 100, 10 % is charged 101
    world.rebound(daily_drift_ppm=Ppm(200_000), min_step_cap_e2=LeverageE2(10))
    receipt = world.update(capped(cap_e2))
    assert skips(receipt) == ([(0, Refusal.DRIFT_SPENT)] if refused else [])
    assert drift(world) == (0 if refused else 100)


@pytest.mark.parametrize("moved_after_s", [1, 900, 3_599])
def test_ramp__another_field_moves__ends_when_it_would_have(world, moved_after_s):
    world.update(capped(500 + 200))
    begun_s = world.now_s
    world.wait(moved_after_s)
    live = effective(world)
    assert skips(world.update(capped(700, spread=51))) == []
    assert effective(world) == live
    world.wait(begun_s + 3_599 - world.now_s)
    assert effective(world) < 71_428
    world.wait(1)
    assert effective(world) == 71_428


def test_held__spread_changes_after_a_revert__stays(world):
    world.update(capped(700))
    world.wait(1_800)
    world.send(GUARDIAN, "revert_market", 0)
    assert world.parameters()["held"]
    assert skips(world.update(capped(700, spread=51))) == []
    assert world.parameters()["held"]
    world.wait(3_000)
    assert effective(world) == 50_000
    assert skips(world.update(capped(690, spread=51))) == []
    assert not world.parameters()["held"]
