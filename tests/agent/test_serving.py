"""The models in service: what outcomes teach, who is in charge, and what a refusal leaves."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.cycle import CycleResult, Mind, risk_cycle
from agent.judge import Rules
from agent.ports import Hands
from agent.proof.recorded import side_by_side, training_rows
from agent.proof.verify import verify_risk
from agent.quoting.desk import DeskPorts, LatestJudgement, TermsDesk, known_with
from agent.rounds import RoundNumbers
from agent.serving import CHALLENGER, CHAMPION, Serving
from agent.snapshot import MarketHistory, Observation
from agent.succession import first_of
from contracts.messages import RiskUpdate
from contracts.units import MarketId, UnixMs, UnixS
from models.artifact import LoadedModel, default_artifact, load, save
from models.manifest import TrainedModel
from models.registry import Registry
from models.samples import HOUR_HORIZONS_S, MINUTE_HORIZONS_S
from relayer.errors import StorageFailed
from relayer.evidence import unpack
from relayer.forecasts import ForecastRow, Lesson
from relayer.market.jumps import JumpWatch
from relayer.market.values import CandleSeries, QuoteRound
from tests.agent.builders import NOW_MS, limits, observation, policy, quote, state
from tests.fakes import FakeClock, FakeDelivery, FakeEvidence, FakeQuorum, FakeRecords, FakeWorld

DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS = 86_400_000, 3_600_000, 60_000, 900_000
MIDNIGHT = NOW_MS - NOW_MS % DAY_MS
RULES = Rules(policy=policy())
SHIPPED = load(default_artifact())
ANY_PORTS: DeskPorts = None  # type: ignore[assignment]  # the model is asked, not the world
SYMBOLS = {MarketId(0): "M0", MarketId(1): "M1"}


class FakeForecasts:
    """The journal's forecasts in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[bytes, str, int, int], ForecastRow] = {}
        self.states: dict[bytes, Mapping[str, Any]] = {}
        self.fault: StorageFailed | None = None

    async def write(self, lesson: Lesson) -> None:
        if self.fault is not None:
            raise self.fault
        for row in lesson.opened:
            key = (row.model_hash, row.symbol, row.horizon_s, row.from_ms)
            assert key not in self.rows
            self.rows[key] = row
        for row in lesson.ended:
            key = (row.model_hash, row.symbol, row.horizon_s, row.from_ms)
            self.rows[key] = dataclasses.replace(row, features=self.rows[key].features)
        if lesson.state is not None:
            self.states[lesson.model_hash] = lesson.state

    async def open_rows(self, model_hash: bytes) -> tuple[ForecastRow, ...]:
        own = [row for row in self.rows.values() if row.model_hash == model_hash]
        return tuple(row for row in own if row.ended_ms is None)

    async def state(self, model_hash: bytes) -> Mapping[str, Any] | None:
        return self.states.get(model_hash)

    @property
    def ended(self) -> list[ForecastRow]:
        return [row for row in self.rows.values() if row.variance is not None]


def bars(market: int, bar_ms: int, first_ms: int, count: int) -> CandleSeries:
    random = np.random.default_rng((market, bar_ms))
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.0006 * (bar_ms / 6e4) ** 0.5, count)))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = 1.0 + np.abs(random.normal(0.0, 0.0002, count))
    return CandleSeries(
        market=MarketId(market),
        bar_ms=bar_ms,
        open_ms=first_ms + bar_ms * np.arange(count, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) * wick,
        low=np.minimum(opened, close) / wick,
        close=close,
        volume=random.uniform(10.0, 1_000.0, count),
    )


PASTS = {
    market: (
        bars(market, HOUR_MS, MIDNIGHT - 31 * DAY_MS, 24 * 34),
        bars(market, MINUTE_MS, MIDNIGHT - DAY_MS, 1_440 * 3),
    )
    for market in (0, 1)
}


def cut(series: CandleSeries, at_ms: int, most: int) -> CandleSeries:
    last = int(np.searchsorted(series.open_ms, at_ms - series.bar_ms, side="right"))
    part = slice(max(last - most, 0), last)
    names = ("open_ms", "open", "high", "low", "close", "volume")
    columns = {name: getattr(series, name)[part] for name in names}
    return CandleSeries(market=series.market, bar_ms=series.bar_ms, **columns)


def seen_at(at_ms: int) -> Observation:
    quotes = tuple(
        quote(venue, market, age_ms=NOW_MS - at_ms + 300)
        for market in (0, 1)
        for venue in ("a", "b", "c")
    )
    live = state(observed_at_ms=UnixMs(at_ms - 60_000), changed_at_s=UnixS(at_ms // 1_000 - 86_400))
    return observation(
        as_of_ms=UnixMs(at_ms),
        limits=limits(timestamp_s=UnixS(at_ms // 1_000), states=(live, live)),
        quotes=QuoteRound(
            quotes=quotes, stablecoins=(), refused=(), faults=(), taken_at_ms=UnixMs(at_ms)
        ),
        histories=tuple(
            MarketHistory(
                market=MarketId(market),
                symbol=SYMBOLS[MarketId(market)],
                hours=cut(PASTS[market][0], at_ms, 720),
                minutes=cut(PASTS[market][1], at_ms, 1_440),
                depth=None,
            )
            for market in (0, 1)
        ),
    )


@dataclasses.dataclass(frozen=True)
class Desk:
    """A cycle that can be run at any instant, with everything it leaves."""

    serving: Serving
    delivery: FakeDelivery
    evidence: FakeEvidence

    async def at(self, at_ms: int) -> CycleResult:
        hands = Hands(
            clock=FakeClock(at_ms),
            world=FakeWorld(seen_at(at_ms)),
            quorum=FakeQuorum(),
            delivery=self.delivery,
            evidence=self.evidence,
            journal=FakeRecords(),
            rounds=RoundNumbers({}),
        )
        mind = Mind(
            model_hash=SHIPPED.model_hash,
            scorer=SHIPPED.scorer,
            rules=RULES,
            code={},
            serving=self.serving,
        )
        return await risk_cycle(hands, mind, JumpWatch())

    async def through(self, first_ms: int, count: int) -> list[CycleResult]:
        return [await self.at(first_ms + step * QUARTER_MS) for step in range(count)]


def desk(journal: FakeForecasts, registry: Registry | None = None) -> Desk:
    serving = Serving(SHIPPED, journal, SYMBOLS, registry)
    return Desk(serving=serving, delivery=FakeDelivery(), evidence=FakeEvidence())


@pytest.fixture(scope="module")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped parameters under another manifest, and so another hash."""
    manifest = dataclasses.replace(SHIPPED.manifest, seed=99)
    twin = TrainedModel(fitted=SHIPPED.scorer._model, manifest=manifest)
    return save(twin, tmp_path_factory.mktemp("registry"))


def registry_with(rival: Path, folder: Path) -> Registry:
    shutil.copytree(rival, folder / rival.name)
    return Registry(folder)


async def test_learn__a_day_of_cycles__every_horizon_is_judged_and_decisions_reproduce() -> None:
    journal, made = FakeForecasts(), None
    made = desk(journal)
    results = await made.through(MIDNIGHT + 2_000, 98)
    ended = {row.horizon_s for row in journal.ended}
    assert ended == {900, 3_600, 14_400, 86_400}
    assert len([row for row in journal.ended if row.horizon_s == 900]) == 2 * 97
    factors = (await made.serving.now()).factors
    assert set(factors) == {0, 1}
    assert factors[0].long[0] != (1.0, 1.0)
    assert results[-1].learned is not None
    for message in (made.delivery.delivered[0].message, made.delivery.delivered[-1].message):
        assert isinstance(message, RiskUpdate)
        fields = unpack(made.evidence.bundles[message.evidence_hash])
        assert verify_risk(fields, message, SHIPPED.scorer, made.evidence.blobs.__getitem__) == ()
    fields["factors"]["0"]["long"][0][1] = 1.25
    assert verify_risk(fields, message, SHIPPED.scorer, made.evidence.blobs.__getitem__)


async def test_learn__another_process_or_a_restart_between__gives_the_same_bits() -> None:
    whole, parted = FakeForecasts(), FakeForecasts()
    one = desk(whole)
    await one.through(MIDNIGHT + 2_000, 20)
    first = desk(parted)
    await first.through(MIDNIGHT + 2_000, 9)
    second = desk(parted)
    await second.through(MIDNIGHT + 2_000 + 9 * QUARTER_MS, 11)
    assert whole.rows == parted.rows
    assert whole.states == parted.states
    assert (await one.serving.now()).factors == (await second.serving.now()).factors
    assert one.delivery.delivered[-1] == second.delivery.delivered[-1]


async def test_learn__endings__move_every_monitor_and_its_state_is_journalled() -> None:
    journal = FakeForecasts()
    results = await desk(journal).through(MIDNIGHT + 2_000, 6)
    learned = results[-1].learned
    assert learned is not None
    standing = learned.standings[CHAMPION]
    assert {("900", kind) for kind in ("long", "short", "low", "high", "loss", "market")} <= set(
        standing.shares
    )
    assert 0.0 < standing.shares["900", "long"] < 1.0
    assert standing.alarms == ()
    watch = journal.states[SHIPPED.model_hash]["watch"]
    assert "900/long/000001" in watch
    assert ("week" in watch) == standing.drift_watched == (SHIPPED.reference is not None)


async def test_learn__journal_cannot_be_written__costs_the_lesson_not_the_decision() -> None:
    journal = FakeForecasts()
    made = desk(journal)
    journal.fault = StorageFailed("disk full")
    result = await made.at(MIDNIGHT + 2_000)
    assert result.entry.result == "effective"
    assert result.learned is not None
    assert "disk full" in result.learned.notices[-1]
    journal.fault = None
    await made.at(MIDNIGHT + 62_000)
    assert len(journal.rows) == 8


async def test_shadow__challenger__is_scored_on_the_same_outcomes_and_decides_nothing(
    rival: Path, tmp_path: Path
) -> None:
    registry, journal = registry_with(rival, tmp_path), FakeForecasts()
    registry.challenge(rival.name, reason="try", at_ms=1)
    made = desk(journal, registry)
    results = await made.through(MIDNIGHT + 2_000, 6)
    learned = results[-1].learned
    assert learned is not None
    assert len(learned.endings[CHAMPION]) == len(learned.endings[CHALLENGER]) > 0
    assert {result.model_hash.hex() for result in results} == {SHIPPED.model_hash.hex()}
    lines = side_by_side(journal.ended)
    assert {line.model for line in lines} == {rival.name, SHIPPED.model_hash.hex()}
    registry.challenge("", reason="enough", at_ms=2)
    results = await made.through(MIDNIGHT + 2_000 + 6 * QUARTER_MS, 1)
    assert results[-1].learned is not None
    assert CHALLENGER not in results[-1].learned.endings


async def test_registry__promotion_while_running__is_in_charge_from_the_next_cycle(
    rival: Path, tmp_path: Path
) -> None:
    registry = registry_with(rival, tmp_path)
    made = desk(FakeForecasts(), registry)
    assert (await made.at(MIDNIGHT + 2_000)).model_hash.hex() == SHIPPED.model_hash.hex()
    registry.promote(rival.name, None, reason="ordered", at_ms=1, force=True)
    result = await made.at(MIDNIGHT + 62_000)
    assert result.model_hash.hex() == rival.name
    assert result.learned is not None
    assert "is in charge now" in result.learned.notices[0]
    judged = LatestJudgement()
    terms = TermsDesk(ANY_PORTS, known_with(SHIPPED.model_hash, SHIPPED.risks), judged)
    assert terms.model.model_hash == SHIPPED.model_hash
    judged.take(result)
    assert terms.model.model_hash.hex() == rival.name
    assert terms.model.forecasts.heads is result.learned.risks is not None
    registry.rollback(reason="worse", at_ms=2)
    assert (await made.at(MIDNIGHT + 122_000)).model_hash.hex() == SHIPPED.model_hash.hex()


async def test_registry__tampered_at_reload__the_last_good_model_stays_and_the_fault_is_named(
    rival: Path, tmp_path: Path
) -> None:
    registry = registry_with(rival, tmp_path)
    made = desk(FakeForecasts(), registry)
    await made.at(MIDNIGHT + 2_000)
    registry.promote(rival.name, None, reason="ordered", at_ms=1, force=True)
    model_file = tmp_path / rival.name / "model.skops"
    model_file.write_bytes(model_file.read_bytes() + b"\x00")
    result = await made.at(MIDNIGHT + 62_000)
    assert result.model_hash.hex() == SHIPPED.model_hash.hex()
    assert result.entry.result == "effective"
    assert result.learned is not None
    assert "stays in charge: TamperedFile" in result.learned.notices[0]


def test_first_of__champion_tampered_at_start__the_one_before_it_serves(
    rival: Path, tmp_path: Path
) -> None:
    registry = registry_with(rival, tmp_path)
    registry.promote(rival.name, None, reason="ordered", at_ms=1, force=True)
    assert first_of(registry)[0].model_hash.hex() == rival.name
    (tmp_path / rival.name / "card.md").write_text("another card")
    model, notices = first_of(registry)
    assert isinstance(model, LoadedModel)
    assert model.model_hash.hex() == SHIPPED.model_hash.hex()
    assert "TamperedFile" in notices[0]


async def test_training_rows__recorded_outcomes__hold_features_and_every_horizon() -> None:
    journal = FakeForecasts()
    await desk(journal).through(MIDNIGHT + 2_000, 98)
    parts = training_rows(journal.ended, HOUR_HORIZONS_S)
    assert len(parts) == 1
    assert np.isfinite(parts[0].variance[:, 0]).sum() == 2 * 6
    assert np.isfinite(parts[0].variance[:, 1]).sum() == 2
    (minutes,) = training_rows(journal.ended, MINUTE_HORIZONS_S)
    assert np.isfinite(minutes.variance[:, 1]).sum() == 2 * 24
    assert "hours_squared_24" in minutes.names
