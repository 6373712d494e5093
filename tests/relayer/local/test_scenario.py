"""Scenario files: what is wrong is said with the step, and each shipped one can be played."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayer.local import client
from relayer.local.errors import ScenarioError, WorldFailedError
from relayer.local.faults import VenueMode
from relayer.local.scenario import faults_of, parse_scenario, read_scenario
from relayer.local.server import main
from tests.relayer.local.recordings import columns, write
from tests.relayer.local.venues import SYMBOL, Hands

SYMBOLS = ["BTC/USDC:USDC", "ETH/USDC:USDC"]
SHIPPED = sorted((Path(__file__).parents[3] / "config/scenarios").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped__read(path: Path) -> None:
    assert read_scenario(path, 3, SYMBOLS)


def test_shipped__every_mode_has_one() -> None:
    shown = {step.fault.mode for path in SHIPPED for step in read_scenario(path, 3, SYMBOLS)}
    assert shown == set(VenueMode) - {VenueMode.OK}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, r"no \[\[step\]\] tables"),
        ({"steps": []}, "no field steps; did you mean step"),
        ({"step": [{"mode": "of"}]}, "step 1: no mode of; did you mean off"),
        ({"step": [{"mode": "off", "factr": 2}]}, "off has no field factr; did you mean factor"),
        ({"step": [{"mode": "slow", "factor": 2}]}, "slow has no field factor"),
        ({"step": [{"mode": "off", "factor": "2"}]}, "factor must be a number"),
        ({"step": [{"mode": "down"}, {"mode": "down", "venue": 3}]}, "step 2: venue 3: give 0 to"),
        ({"step": [{"mode": "down", "for_s": 0}]}, "for_s must be above 0"),
        (
            {"step": [{"mode": "down", "market": "BTC/USD:USD"}]},
            "no market BTC/USD:USD; did you mean BTC/USDC:USDC",
        ),
    ],
)
def test_scenario__wrong__refused_with_the_step_and_what_is_right(fields: dict, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        parse_scenario(fields, 3, SYMBOLS)


def test_faults__in_the_clocks_time_for_their_venues() -> None:
    step = {"mode": "off", "factor": 10, "venue": [0, 2], "at_s": 60, "for_s": 30}
    steps = parse_scenario({"step": [step]}, 3, SYMBOLS)
    [fault] = faults_of(steps, 2, 1_000_000)
    assert (fault.since_ms, fault.until_ms, fault.factor) == (1_060_000, 1_090_000, 10.0)
    assert faults_of(steps, 1, 1_000_000) == ()


def test_script__begins_and_ends_by_the_clock() -> None:
    hands = Hands()
    [listed] = hands.venue.instruments
    honest = hands.venue.view(listed).top.mid
    fields = {"step": [{"mode": "off", "factor": 10, "at_s": 60, "for_s": 60, "market": SYMBOL}]}
    steps = parse_scenario(fields, 1, [SYMBOL])
    hands.venue.faults.play(faults_of(steps, 0, hands.now_ms))
    seen = []
    for _ in range(3):
        seen.append(round(hands.venue.view(listed).top.mid / honest))
        hands.now_ms += 60_000
    assert seen == [1, 10, 1]


def test_server__bad_scenario__exit_code_2_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay = write(tmp_path / "candles.parquet", columns(SYMBOL, 6_000))
    path = tmp_path / "s.toml"
    path.write_text("[[step]]\nmode = 'dwn'\n")
    arguments = ["--state", str(tmp_path), "--replay", str(replay), "--scenario", str(path)]
    assert main(arguments) == 2
    assert "did you mean down" in capsys.readouterr().err


@pytest.mark.loopback
def test_running_world__scenario_given__faults_listed(world: object, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[[step]]\nmode = 'skew'\nskew_ms = 5000\nvenue = 1\n")
    assert client.play_scenario(world, path) == 1
    [fault] = client.faults(world)
    assert (fault["venue"], fault["mode"], fault["skew_ms"]) == (1, "skew", 5_000)
    client.switch_venue(world, 1, "ok")
    assert client.faults(world) == []


@pytest.mark.loopback
def test_running_world__bad_scenario__nothing_changes(world: object, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[[step]]\nmode = 'off'\nmarket = 'X'\n")
    with pytest.raises(ScenarioError):
        client.play_scenario(world, path)
    with pytest.raises(WorldFailedError, match="no mode x"):
        client.fetch_json(world.control_url + "/control/scenario", {"step": [{"mode": "x"}]})
    assert client.faults(world) == []
