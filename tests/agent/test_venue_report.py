"""What `aml venues` says: each exchange's reach, health and distance from the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.network import Network, local_network
from agent.venue_report import report_venues
from relayer.local import client
from relayer.local.state import WorldState
from relayer.market.aggregate import AggregationRules
from tests.relayer.local.recordings import write_small_recording

pytestmark = pytest.mark.loopback
RULES = AggregationRules()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldState]:
    folder = tmp_path_factory.mktemp("venues")
    replay = write_small_recording(folder / "candles.parquet")
    yield client.start(folder / "state", replay=replay, chain_time=True)
    client.stop(folder / "state")


@pytest.fixture
def network(world: WorldState, tmp_path_factory: pytest.TempPathFactory) -> Network:
    for venue in range(3):
        client.switch_venue(world, venue, "ok")
    return local_network(world, tmp_path_factory.mktemp("daemon"))


async def test_report__all_well__sound_and_every_cell_filled(network: Network) -> None:
    report = await report_venues(network, RULES)
    assert report.sound
    assert report.notices == ()
    assert {row[0]: row[1] for row in report.capabilities}["tiers"] == "call"
    assert {row[0]: row[1] for row in report.capabilities}["liquidations"] == "stream"
    assert [row[0] for row in report.health[1:]] == ["local-0", "local-1", "local-2"]
    assert all(row[3] == "33.3 %" for row in report.health[1:])
    for row in report.disagreement[1:]:
        assert all(abs(int(cell)) < 1_000 for cell in row[3:])


async def test_report__one_venue_far_off__marked_as_left_out(
    network: Network, world: WorldState
) -> None:
    client.switch_venue(world, 2, "off", factor=1.3)
    report = await report_venues(network, RULES)
    assert all(row[-1].endswith("!") for row in report.disagreement[1:])
    assert report.health[3][3] == "0.0 %"


async def test_report__a_power_of_ten_off__named(network: Network, world: WorldState) -> None:
    client.switch_venue(world, 2, "off", factor=1_000.0)
    report = await report_venues(network, RULES)
    assert not report.sound
    assert any("10^3 off" in notice and "local-2" in notice for notice in report.notices)
    assert all(row[-1] == "no quote" for row in report.disagreement[1:])


async def test_report__one_venue_down__said_and_the_others_shown(
    network: Network, world: WorldState
) -> None:
    client.switch_venue(world, 0, "down")
    report = await report_venues(network, RULES)
    assert not report.sound
    assert any(notice.startswith("local-0: unreachable") for notice in report.notices)
    assert report.health[1][1] == "0"
    assert all(row[3] == "no quote" for row in report.disagreement[1:])


async def test_report__books_wanted__depth_cost_and_balance_of_each(network: Network) -> None:
    report = await report_venues(network, RULES, books=True)
    assert report.sound
    assert [row[0] for row in report.books[1:]] == [row[0] for row in report.disagreement[1:]]
    for _, venue, near, far, *_ in report.books[1:]:
        assert venue.startswith("local-")
        assert 0 < float(near.replace(",", "")) <= float(far.replace(",", ""))
    assert (await report_venues(network, RULES)).books == []


async def test_report__streams_followed__live(network: Network) -> None:
    followed = [venue.model_copy(update={"streams": ("quotes",)}) for venue in network.venues]
    report = await report_venues(replace(network, venues=tuple(followed)), RULES, follow_s=2.0)
    assert report.sound
    assert [row[5] for row in report.health[1:]] == ["live"] * 3


def test_network__local__follows_everything_and_signers_quotes_alone(network: Network) -> None:
    followed = {venue.streams for venue in network.venues}
    assert followed == {("quotes", "trades", "liquidations", "books")}
    assert {venue.streams for venue in network.for_signers.venues} == {("quotes",)}
    assert network.for_signers.markets == network.markets
